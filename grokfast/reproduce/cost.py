"""What a reproduction will take, by measurement on this machine: training, measuring and drawing."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grokfast.endmodel import measure_everything
from grokfast.figures import band, new_figure
from grokfast.figures.style import style
from grokfast.ops.threads import one_thread
from grokfast.report.page.content import PAPERS
from grokfast.report.page.svg import inline_svg
from grokfast.reproduce.stages import Stage
from grokfast.runs import load
from grokfast.store import Store
from grokfast.sweep import make_plan
from grokfast.sweep.estimate import MemberCost, estimate
from grokfast.training import RunConfig, train_runs

PAGE = "page"
"""Name of the last part: claims, figures and the page itself."""


@dataclass(frozen=True)
class PartCost:
    """What one part of a reproduction will take.

    Attributes:
        name: ``train main-text``, ``measure main-text``, ``page``.
        runs: Runs to train, or to measure.
        seconds: On all workers together; None if it could not be measured.
        disk: Bytes that it will write.
        unmeasured: What is not in ``seconds``, and why.
        members: What training each of its runs takes by itself, by key.
    """

    name: str
    runs: int
    seconds: float | None
    disk: int = 0
    unmeasured: tuple[str, ...] = ()
    members: Mapping[str, MemberCost] = field(default_factory=dict)


def costs(stages: Sequence[Stage], store: Store, workers: int, device: str = "cpu") -> list[PartCost]:
    """The parts of a reproduction in order, each measured by doing a little of it.

    Args:
        stages: Of the reproduction.
        store: Whose runs are not trained again.
        workers: How many train at the same time.
        device: Where they train.
    """
    found: list[PartCost] = []
    looked: dict[str, float] = {}
    for stage in stages:
        plan = make_plan(stage.configs, store, workers=workers)
        cost = estimate(plan, device)
        name, seconds = f"train {stage.name}", cost.seconds or 0.0
        found.append(PartCost(name, plan.runs, seconds, cost.disk, tuple(cost.unmeasured), cost.members))
        if stage.measured:
            seconds = sum(_measuring(config, looked) for config in stage.configs) / workers
            found.append(PartCost(f"measure {stage.name}", len(stage.configs), seconds))
        if stage.llc:
            why = ("minutes a run; how many depends on how its chains mix",)
            found.append(PartCost(f"llc {stage.name}", len(stage.configs), None, unmeasured=why))
    return [*found, PartCost(PAGE, 0, _drawing())]


def _measuring(config: RunConfig, looked: dict[str, float]) -> float:
    """Seconds to measure one end model of a kind: that of a network trained for an epoch."""
    kind = repr(config.task)
    if kind not in looked:
        short = dataclasses.replace(
            config,
            epochs=1,
            geometry="",
            observe=(),
            feature_schedule="never",
            compressibility_schedule="never",
            test_schedule="every:1",
            checkpoint_schedule="last",
        )
        with tempfile.TemporaryDirectory(prefix="grokfast-measuring-") as place:
            folder = Path(place) / "runs"
            train_runs([short], Store(folder))
            with one_thread():
                started = time.perf_counter()
                measure_everything(next(iter(load(folder))))
                looked[kind] = time.perf_counter() - started
    return looked[kind]


def _drawing() -> float:
    """Seconds to draw all figures, by one of eight panels with two curves and their bands each."""
    started = time.perf_counter()
    with style():
        figure = new_figure(2, 4)
        epochs = np.arange(1.0, 301.0)
        for axes in figure.axes:
            for k in range(2):
                band(axes, epochs, np.stack([np.sin(epochs / 50 + k), np.cos(epochs / 50 - k)]), label=f"curve {k}")
            axes.legend()
    inline_svg(figure, "tried", "")
    return (time.perf_counter() - started) * len(PAPERS)

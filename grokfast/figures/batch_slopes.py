"""c per decade of w0 by batch size, under three rules of the learning rate, and of other tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from grokfast.figures.choose import by_scale, scale_of, task_of
from grokfast.figures.grouping import values_by
from grokfast.figures.kept import values_of
from grokfast.measures import Estimate, linear_fit
from grokfast.runs import Run

RULES = {"fixed": "learning rate fixed", "linear": "learning rate ∝ B", "root": "learning rate ∝ √B"}
"""How the learning rate goes with the batch size B."""

BASE_BATCH = 64
"""The batch size at which the three rules agree."""

_BASE_RATE = 5e-3
_LEARNED = {"mnist": 0.8}  # test accuracy from which a run counts; of all other tasks 0.95
_LEAST = 2  # runs at each w0


@dataclass(frozen=True)
class Slope:
    """c per decade of w0 at one batch size.

    Attributes:
        batch: Its size.
        estimate: None where too few runs learned.
        learned: Runs that did.
        runs: Runs there were.
    """

    batch: int
    estimate: Estimate | None
    learned: int
    runs: int


def slopes_by_rule(runs: Sequence[Run]) -> dict[str, list[Slope]]:
    """Slopes at every batch size, rising, for each rule that a run's learning rate fits; batch 64 fits all."""
    found: dict[str, list[Slope]] = {}
    for rule, power in (("fixed", 0.0), ("linear", 1.0), ("root", 0.5)):
        mine = [run for run in runs if _fits(run, power)]
        found[rule] = [slope_at(batch, members) for batch, members in values_by(mine, "batch_size").items()]
    return found


def slope_at(batch: int, runs: Sequence[Run]) -> Slope:
    """C per decade of w0 over the runs that reach 95 % test accuracy (MNIST 80 %): two at each w0 or more, or none."""
    accuracy = values_of(runs, "end_test_accuracy")
    learned = [run for run, share in zip(runs, accuracy, strict=True) if share >= _LEARNED.get(task_of(run), 0.95)]
    every, left = by_scale(runs), by_scale(learned)
    estimate = None
    if len(every) > 1 and all(len(left.get(w0, ())) >= _LEAST for w0 in every):
        decades = [math.log10(scale_of(run)) for run in learned]
        estimate = linear_fit(decades, values_of(learned, "compressibility")).slope
    return Slope(batch, estimate, len(learned), len(runs))


def slopes_by_task(runs: Sequence[Run]) -> dict[str, list[Slope]]:
    """Slopes at every batch size, rising, of each task."""
    return {
        task: [slope_at(batch, members) for batch, members in values_by(mine, "batch_size").items()]
        for task, mine in values_by(runs, "task_words").items()
    }


def _fits(run: Run, power: float) -> bool:
    config = run.record["config"]
    wanted = _BASE_RATE * (config["batch_size"] / BASE_BATCH) ** power
    return math.isclose(config["learning_rate"], wanted, rel_tol=1e-4)

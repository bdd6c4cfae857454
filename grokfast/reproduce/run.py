"""Reproducing the paper: each stage trained, measured and summarised, then the page; it may be killed at any moment."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grokfast.endmodel import LLC
from grokfast.errors import MissingRunsError
from grokfast.figures.choose import seed_of, task_of
from grokfast.figures.frequencies import keep_frequency_shares
from grokfast.report.page import build_page, write_summary
from grokfast.reproduce.beyond import write_beyond
from grokfast.reproduce.cost import PAGE
from grokfast.reproduce.record import Clock
from grokfast.reproduce.stages import Stage
from grokfast.runs import Run
from grokfast.store import Store
from grokfast.studies import Sweep
from grokfast.sweep import run_sweep
from grokfast.sweep.cluster import connected
from grokfast.sweep.jobs import JobReport, run_jobs
from grokfast.sweep.measuring import measure_stored
from grokfast.sweep.options import Carried
from grokfast.sweep.stopping import stopping

Listener = Callable[[str, dict[str, Any]], None]
"""Told of events: ``part`` and ``ended`` with its name, ``share`` with what is done of a part, ``sweep`` with an event
of the training, ``stopping`` with the reason."""


@dataclass
class Reproduced:
    """What became of a reproduction.

    Attributes:
        page: The page's file; None if it was stopped before.
        values: What stands on the page.
        summaries: Folder of the summaries.
        failed: Runs that could not be trained or measured, with the reason.
        stopped: Why it ended before all was done; empty if all was.
        beyond: File of the experiments past the paper; None without.
    """

    summaries: Path
    page: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: str = ""
    beyond: Path | None = None


def places(folder: Path, size: str) -> tuple[Path, Path]:
    """Folder of the summaries and file of the page of a reproduction in a folder of runs."""
    return folder / "summaries" / size, folder / f"reproduction-{size}.html"


def reproduce(
    stages: Sequence[Stage],
    folder: Path,
    size: str,
    command: str,
    carried: Carried,
    tell: Listener,
    *,
    beyond: bool = False,
) -> Reproduced:
    """Do what is left to do of a reproduction, and make its page.

    Args:
        stages: What to train, in order.
        folder: The store.
        size: Of the stages.
        command: That starts it, also again; without the folder, for the page.
        carried: How.
        tell: Told what happens.
        beyond: Whether the experiments past the paper are decided too, and have their chapter on the page.

    Raises:
        StoreError: If something cannot be written; what was is kept.
        SweepError: If a scheduler was lost.
    """
    store = Store(folder)
    store.check_writable()
    summaries, page = places(folder, size)
    clock = Clock(summaries, size, command)
    result = Reproduced(summaries)

    def told(kind: str, details: dict[str, Any]) -> None:
        clock.tick()
        tell(kind, details)

    for stage in stages:
        wanted = {"train": True, "measure": stage.measured, "llc": stage.llc}
        for name, part in (("train", _train), ("measure", _measure), ("llc", _coefficients)):
            if not wanted[name]:
                continue
            _begin(clock, tell, f"{name} {stage.name}")
            try:
                result.stopped = part(stage, store, command, carried, told, result)
            finally:
                clock.end()
            if result.stopped:
                return result
            tell("ended", {"part": f"{name} {stage.name}"})
        _summarise(stage, store, summaries)
        result.failed |= _diverged(stage, store)
    clock.failed = result.failed
    clock.end()
    tell("part", {"part": PAGE})
    made = 0

    def drawn(name: str) -> None:
        nonlocal made
        made += 1
        tell("share", {"part": PAGE, "done": made, "note": name})

    if beyond:
        with suppress(MissingRunsError):  # none of their runs could be trained: they are among those that failed
            result.beyond = write_beyond(folder, summaries)[0]
    # The page tells the times of the stages and not its own: made again from the summaries it is the same.
    result.values = build_page(summaries, page, drawn)
    result.page = page
    tell("ended", {"part": PAGE})
    return result


def _begin(clock: Clock, tell: Listener, part: str) -> None:
    clock.start(part)
    tell("part", {"part": part})


def _train(stage: Stage, store: Store, command: str, carried: Carried, tell: Listener, result: Reproduced) -> str:
    report = run_sweep(
        Sweep(f"reproduce {stage.name}", stage.configs),
        store.root,
        carried,
        listener=lambda kind, details: tell("sweep", {"kind": kind, **details}),
        resume=f"{command} --runs {shlex.quote(str(store.root))}",
    )
    result.failed |= {**report.plan.failed, **report.failed}
    return report.stopped


def _measure(stage: Stage, store: Store, command: str, carried: Carried, tell: Listener, result: Reproduced) -> str:
    runs = _finished(stage, store)
    first = {(task_of(run), run.record["config"]["w0"]): run.key for run in reversed(runs)}
    shown, root = set(first.values()), str(store.root.resolve())
    jobs: Jobs = [(run.key, (root, run.key, run.key in shown)) for run in runs]
    return _on_workers(f"measure {stage.name}", measure_key, jobs, carried, tell, result)


def _coefficients(
    stage: Stage, store: Store, command: str, carried: Carried, tell: Listener, result: Reproduced
) -> str:
    root = str(store.root.resolve())
    jobs: Jobs = [(run.key, (root, run.key, LLC)) for run in _finished(stage, store)]
    return _on_workers(f"llc {stage.name}", measure_stored, jobs, carried, tell, result)


Jobs = list[tuple[str, tuple[Any, ...]]]


def _on_workers(
    part: str, function: Callable[..., None], jobs: Jobs, carried: Carried, tell: Listener, result: Reproduced
) -> str:
    """Call a function for each job; returns why it was stopped, if it was."""

    def ended(report: JobReport) -> None:
        count = len(report.done) + len(report.failed)
        tell("share", {"part": part, "done": count, "total": len(jobs), "note": f"{count} of {len(jobs)} runs"})

    if not jobs:
        return ""
    with (
        stopping(lambda reason: tell("stopping", {"reason": reason})) as stop,
        connected(min(carried.count, len(jobs)), replace(carried, device="cpu")) as client,
    ):
        report = run_jobs(client, function, jobs, stop, ended)
    result.failed |= report.failed
    return report.stopped


def measure_key(root: str, key: str, shown: bool) -> None:
    """Measure one stored end model; what is there already is left.

    Args:
        root: The store's folder.
        key: The run.
        shown: Whether its frequencies are drawn.
    """
    measure_stored(root, key, ())
    run = Run(Store(root), key)
    if shown and task_of(run) == "modular-addition":
        keep_frequency_shares(run)


def _finished(stage: Stage, store: Store) -> list[Run]:
    runs = [Run(store, key) for key in stage.keys if store.has(key)]
    return sorted((run for run in runs if run.record["status"] == "finished"), key=seed_of)


def _diverged(stage: Stage, store: Store) -> dict[str, str]:
    """Stored runs that no claim and no figure can show, with the reason."""
    records = {key: store.record(key) for key in stage.keys if store.has(key)}
    return {
        key: f"{record['status']} in epoch {record.get('diverged_epoch')}"
        for key, record in records.items()
        if record["status"] != "finished"
    }


def _summarise(stage: Stage, store: Store, summaries: Path) -> None:
    """Write the stage's summary, unless it is there and knows of the same studies and versions of runs."""
    keys = [run.key for run in _finished(stage, store)]
    write_summary(store, summaries, stage.name, keys, stage.studies)

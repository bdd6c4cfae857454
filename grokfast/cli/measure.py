"""`grokfast measure`: compute what figures and reports need of stored end models, ahead."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from grokfast._checks import check_at_least
from grokfast.cli.common import Runs
from grokfast.cli.progress import make_console
from grokfast.endmodel import LLC
from grokfast.errors import ConfigError, InputError, MissingRunsError
from grokfast.observe import find_measure
from grokfast.runs import Run, load
from grokfast.sweep.engine import cores
from grokfast.sweep.measuring import measure_runs, measure_stored

_LINE_EVERY = 10.0  # seconds


def main(arguments: Sequence[str]) -> None:
    """The command."""
    tyro.cli(measure, args=list(arguments), prog="grokfast measure")


def measure(
    folder: Runs = Path("runs"),
    where: str = "",
    threads: int = 1,
    only: Annotated[tuple[str, ...], tyro.conf.arg(name="measure")] = (),
    llc: bool = False,
    workers: int = 1,
    scheduler: str = "",
    scheduler_file: Path | None = None,
) -> None:
    """Measure the end models of a folder of runs: Gini coefficients, norms, the curve of every pruning scheme.

    What is there already is not measured again; an interrupted command keeps what it did. The scalars are columns of
    `grokfast runs` from then on.

    Args:
        folder: Folder of runs.
        where: SQL condition on the runs.
        threads: Threads of torch and of the kernels.
        only: Take these measures alone: registered names, or module:attribute for your own.
        llc: Take the local learning coefficient at three localities, and what it is compared with; minutes a run.
        workers: Processes; 0 is one a core.
        scheduler: Address of a running Dask scheduler, such as tcp://host:8786.
        scheduler_file: File that a running Dask scheduler wrote.
    """
    names = (*only, *(name for name in LLC if llc and name not in only))
    for reference in names:
        find_measure(reference)
    check_at_least("threads", threads, 1, error=ConfigError)
    check_at_least("workers", workers, 0, error=ConfigError)
    if scheduler and scheduler_file is not None:
        raise ConfigError("give --scheduler or --scheduler-file, not both")
    console = make_console()
    table = load(folder).where("status = 'finished'")
    runs = list(table.where(where) if where else table)
    if not runs:
        raise MissingRunsError(f"{folder} has no finished runs{f' with {where}' if where else ''} to measure")
    progress = _Progress(console, len(runs))
    if scheduler or scheduler_file is not None or workers != 1:
        _on_workers(runs, names, progress, workers or cores(), threads, scheduler or None, scheduler_file)
    else:
        for k, run in enumerate(runs, 1):
            measure_stored(str(run.store.root), run.key, names, threads)
            progress.tell(k)
    console.print(f"measured {len(runs)} runs in {folder.resolve()}")


def _on_workers(
    runs: Sequence[Run],
    names: Sequence[str],
    progress: _Progress,
    workers: int,
    threads: int,
    scheduler: str | None,
    scheduler_file: Path | None,
) -> None:
    report = measure_runs(
        runs,
        names,
        workers=workers,
        scheduler=scheduler,
        scheduler_file=scheduler_file,
        threads=threads,
        tell=lambda report: progress.tell(len(report.done) + len(report.failed)),
    )
    if report.failed:
        key, why = next(iter(report.failed.items()))
        raise InputError(f"{len(report.failed)} of {len(runs)} runs could not be measured; the first, {key}: {why}")
    if report.stopped:
        raise InputError(f"stopped by {report.stopped} after {len(report.done)} of {len(runs)} runs; they are kept")


class _Progress:
    """A line now and then."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._last = self._started = time.perf_counter()

    def tell(self, done: int) -> None:
        now = time.perf_counter()
        if now - self._last >= _LINE_EVERY:
            self._last = now
            left = (now - self._started) / done * (self._total - done)
            self._console.print(f"measured {done} of {self._total} runs, about {left / 60:.0f} min left")

"""`grokfast measure`: compute what figures and reports need of stored end models, ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from grokfast._checks import check_at_least
from grokfast.cli.common import Runs
from grokfast.cli.printing import call, make_console, tell
from grokfast.endmodel import LLC
from grokfast.errors import ConfigError, InputError, MissingRunsError
from grokfast.observe import find_measure
from grokfast.progress import count_progress
from grokfast.runs import Run, load
from grokfast.sweep.measuring import measure_runs, measure_stored
from grokfast.sweep.options import Carried


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(measure, arguments, "grokfast measure")


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
    remote = bool(scheduler) or scheduler_file is not None
    carried = Carried(0 if remote else workers, scheduler or None, scheduler_file)
    console = make_console()
    table = load(folder).where("status = 'finished'")
    runs = list(table.where(where) if where else table)
    if not runs:
        raise MissingRunsError(f"{folder} has no finished runs{f' with {where}' if where else ''} to measure")
    started = time.perf_counter()
    with count_progress("measuring", len(runs), "runs", console) as show:

        def count(done: int) -> None:
            show(done, time.perf_counter() - started)

        if remote or workers != 1:
            _on_workers(runs, names, count, carried, threads)
        else:
            for k, run in enumerate(runs, 1):
                measure_stored(str(run.store.root), run.key, names, threads)
                count(k)
    tell(console, f"measured {len(runs)} runs in {folder.resolve()}")


def _on_workers(
    runs: Sequence[Run],
    names: Sequence[str],
    count: Callable[[int], None],
    carried: Carried,
    threads: int,
) -> None:
    report = measure_runs(
        runs,
        names,
        carried,
        threads=threads,
        tell=lambda report: count(len(report.done) + len(report.failed)),
    )
    if report.failed:
        key, why = next(iter(report.failed.items()))
        raise InputError(f"{len(report.failed)} of {len(runs)} runs could not be measured; the first, {key}: {why}")
    if report.stopped:
        raise InputError(f"stopped by {report.stopped} after {len(report.done)} of {len(runs)} runs; they are kept")

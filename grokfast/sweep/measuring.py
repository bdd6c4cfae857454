"""Stored end models measured on the cluster that carries sweeps: a run a job, each kept where it was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from grokfast.endmodel import measure_everything, measure_run
from grokfast.observe import find_measure
from grokfast.runs import Run
from grokfast.store import Store
from grokfast.sweep.cluster import connected
from grokfast.sweep.jobs import JobReport, run_jobs
from grokfast.sweep.stopping import stopping


def measure_stored(root: str, key: str, measures: Sequence[str], threads: int = 1) -> None:
    """Measure one stored end model; what is there already is left.

    Args:
        root: The store's folder.
        key: The run.
        measures: Names or references; all that figures and reports need if there is none.
        threads: Of torch and of the kernels.
    """
    torch.set_num_threads(threads)
    run = Run(Store(Path(root)), key)
    for name in measures:
        measure_run(run, find_measure(name))
    if not measures:
        measure_everything(run)


def measure_runs(
    runs: Sequence[Run],
    measures: Sequence[str],
    *,
    workers: int,
    scheduler: str | None = None,
    scheduler_file: Path | None = None,
    threads: int = 1,
    tell: Callable[[JobReport], None],
) -> JobReport:
    """Measure stored end models on all workers of a cluster.

    Args:
        runs: Finished ones of one store.
        measures: As in :func:`measure_stored`.
        workers: Processes of this machine, if no scheduler is given.
        scheduler: Address of a running Dask scheduler.
        scheduler_file: File that one wrote.
        threads: Of each worker.
        tell: Told after each run.

    Returns:
        Which runs were measured, and which could not be, with the reason.

    Raises:
        SweepError: If a measure fails in a way that grokfast does not expect, or the scheduler is lost.
    """
    if not runs:
        return JobReport()
    root = str(runs[0].store.root.resolve())
    jobs = [(run.key, (root, run.key, tuple(measures), threads)) for run in runs]
    with (
        stopping(lambda reason: None) as stop,
        connected(
            min(workers, len(jobs)), scheduler=scheduler, scheduler_file=scheduler_file, device="cpu", timeout=60.0
        ) as client,
    ):
        return run_jobs(client, measure_stored, jobs, stop, tell)

"""`grokfast measure`: compute what figures and reports need of stored end models, ahead."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import tyro

from grokfast._checks import check_at_least
from grokfast.cli.common import Runs
from grokfast.cli.progress import make_console
from grokfast.endmodel import measure_everything, measure_run
from grokfast.errors import ConfigError, MissingRunsError
from grokfast.observe import find_measure
from grokfast.runs import load

_LINE_EVERY = 10.0  # seconds


def main(arguments: Sequence[str]) -> None:
    """The command."""
    tyro.cli(measure, args=list(arguments), prog="grokfast measure")


def measure(
    folder: Runs = Path("runs"),
    where: str = "",
    threads: int = 1,
    only: Annotated[tuple[str, ...], tyro.conf.arg(name="measure")] = (),
) -> None:
    """Measure the end models of a folder of runs: Gini coefficients, norms, the curve of every pruning scheme.

    What is there already is not measured again; an interrupted command keeps what it did. The scalars are columns of
    `grokfast runs` from then on.

    Args:
        folder: Folder of runs.
        where: SQL condition on the runs.
        threads: Threads of torch and of the kernels.
        only: Take these measures alone: registered names, or module:attribute for your own.
    """
    chosen = [find_measure(reference) for reference in only]
    check_at_least("threads", threads, 1, error=ConfigError)
    console = make_console()
    table = load(folder).where("status = 'finished'")
    runs = list(table.where(where) if where else table)
    if not runs:
        raise MissingRunsError(f"{folder} has no finished runs{f' with {where}' if where else ''} to measure")
    torch.set_num_threads(threads)
    last = started = time.perf_counter()
    for k, run in enumerate(runs, 1):
        for one in chosen:
            measure_run(run, one)
        if not chosen:
            measure_everything(run)
        if time.perf_counter() - last >= _LINE_EVERY:
            last = time.perf_counter()
            left = (last - started) / k * (len(runs) - k)
            console.print(f"measured {k} of {len(runs)} runs, about {left / 60:.0f} min left")
    console.print(f"measured {len(runs)} runs in {folder.resolve()}")

"""`grokfast report`: measured against claimed values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from grokfast._checks import nearest
from grokfast.cli.common import Runs, load_runs
from grokfast.errors import MissingRunsError, StoreError
from grokfast.report import REPORTS, listing


def main(arguments: Sequence[str]) -> None:
    """The command."""
    tyro.cli(report, args=list(arguments), prog="grokfast report")


def report(
    name: Annotated[str, tyro.conf.Positional] = "",
    folder: Runs = Path("runs"),
    where: str = "",
    out: Path | None = None,
) -> None:
    """Write the table of measured against claimed values, as Markdown; without a name, list the reports.

    Args:
        name: Such as modular-addition, ising, geometry or pruning.
        folder: Folder of runs.
        where: SQL condition on the runs, where the folder holds several settings.
        out: File to write; standard output by default.
    """
    if not name:
        print(listing())
        return
    if name not in REPORTS:
        raise MissingRunsError(f"report must be one of {sorted(REPORTS)}, got {name!r}{nearest(name, REPORTS)}")
    text = REPORTS[name](load_runs(folder, where))
    if out is None:
        print(text)
        return
    try:
        out.write_text(text)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}") from error
    print(f"report: {out.resolve()}")

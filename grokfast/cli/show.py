"""`grokfast runs`, `grokfast figure` and `grokfast report`: look at what a folder of runs holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from grokfast.cli.progress import make_console
from grokfast.cli.train import summary_table
from grokfast.errors import MissingRunsError, StoreError
from grokfast.figures import FIGURES, draw, save
from grokfast.report import REPORTS
from grokfast.runs import RunTable, load
from grokfast.store import Store


def runs(
    folder: Annotated[Path, tyro.conf.arg(name="runs")] = Path("runs"),
    where: str = "",
    sort: str = "",
    sql: str = "",
    export: Path | None = None,
) -> None:
    """List the runs of a folder.

    Args:
        folder: Folder of runs.
        where: SQL condition on the columns, such as "w0 < 1 AND groks".
        sort: SQL order, such as "compressibility DESC, seed".
        sql: A whole SQL query on the table `runs`, printed as DuckDB prints it.
        export: Write all columns to this .csv or .parquet file instead of listing.
    """
    console = make_console()
    table = _load(folder, where)
    if sort:
        table = table.sort(sort)
    if export is not None:
        table.export(export)
        print(f"{len(table)} runs: {export.resolve()}")
        return
    if sql:
        print(table.sql(sql))
    else:
        console.print(summary_table(table))
    console.print(f"{len(table)} runs in {folder.resolve()}; columns: {', '.join(table.columns)}")


def figure(
    name: Annotated[str, tyro.conf.Positional],
    folder: Annotated[Path, tyro.conf.arg(name="runs")] = Path("runs"),
    where: str = "",
    out: Path | None = None,
) -> None:
    """Draw a figure of the paper from a folder of runs, as SVG and PNG.

    Args:
        name: Such as fig05c; a wrong name lists all.
        folder: Folder of runs.
        where: Further SQL condition on the runs.
        out: Folder of the pictures; RUNS/figures by default.
    """
    runs_needed = name not in FIGURES or FIGURES[name].minimum_scales > 0
    table = _load(folder, "") if runs_needed else RunTable(Store(folder), [], [])
    drawn = draw(name, FIGURES, table, where or None)
    for file in save(drawn, out or folder / "figures", name):
        print(f"figure: {file.resolve()}")


def report(
    name: Annotated[str, tyro.conf.Positional],
    folder: Annotated[Path, tyro.conf.arg(name="runs")] = Path("runs"),
    out: Path | None = None,
) -> None:
    """Write the table of measured against claimed values, as Markdown.

    Args:
        name: modular-addition, ising, geometry or pruning.
        folder: Folder of runs.
        out: File to write; standard output by default.
    """
    if name not in REPORTS:
        raise MissingRunsError(f"report must be one of {sorted(REPORTS)}, got {name!r}")
    text = REPORTS[name](_load(folder, ""))
    if out is None:
        print(text)
        return
    try:
        out.write_text(text)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}") from error
    print(f"report: {out.resolve()}")


def _load(folder: Path, where: str) -> RunTable:
    table = load(folder)
    for message in table.damaged:
        print(f"grokfast: warning: left out: {message}", file=sys.stderr)
    return table.where(where) if where else table

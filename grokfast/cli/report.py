"""`grokfast report`: measured against claimed values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from grokfast._checks import nearest
from grokfast.cli.common import Runs, load_runs
from grokfast.cli.printing import call, say
from grokfast.errors import ConfigError, MissingRunsError
from grokfast.report import REPORTS, listing
from grokfast.runs import RunTable
from grokfast.store.atomic import write_page


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(report, arguments, "grokfast report")


def report(
    name: Annotated[str, tyro.conf.Positional] = "",
    folder: Runs = Path("runs"),
    where: str = "",
    out: Path | None = None,
) -> None:
    """Write a page of measured against claimed values, as Markdown; without a name, list the pages.

    Args:
        name: Such as claims, modular-addition, ising, pruning, dynamics or geometry; all for every page that these
            runs have something for, each in its own file of the folder --out.
        folder: Folder of runs, a packed file of runs, or a folder of such files.
        where: SQL condition on the runs.
        out: File to write, with all a folder; standard output by default.
    """
    if not name:
        say(listing())
        return
    if name == "all":
        _write_all(load_runs(folder, where), out)
        return
    if name not in REPORTS:
        known = [*sorted(REPORTS), "all"]
        raise MissingRunsError(f"report must be one of {known}, got {name!r}{nearest(name, known)}")
    text = REPORTS[name].write(load_runs(folder, where))
    if out is None:
        print(text, end="")
        return
    write_page(out, text)
    say(f"report: {out.resolve()}")


def _write_all(table: RunTable, out: Path | None) -> None:
    if out is None:
        raise ConfigError("report all needs --out, the folder that the pages are written into")
    pages: dict[Path, str] = {}
    for found in REPORTS.values():
        try:
            pages[out / found.file] = found.write(table)
        except MissingRunsError as error:
            say(f"left out: {error}")
    if not pages:
        raise MissingRunsError(f"no report can be written of the runs in {table.store.named}")
    for file, text in pages.items():
        write_page(file, text)
        say(f"report: {file.resolve()}")

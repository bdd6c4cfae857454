"""`grokfast figure`: draw figures from a folder of runs, or list what can be drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from grokfast.cli.common import Runs, load_runs
from grokfast.cli.printing import call, make_console, say
from grokfast.errors import MissingRunsError, StoreError
from grokfast.figures import draw, draw_all, find_figure, listing, save
from grokfast.runs import RunTable
from grokfast.store import Store

ALL = "all"


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(figure, arguments, "grokfast figure")


def figure(
    name: Annotated[str, tyro.conf.Positional] = "",
    folder: Runs = Path("runs"),
    where: str = "",
    out: Path | None = None,
    formats: Annotated[tuple[str, ...], tyro.conf.arg(name="format")] = ("svg", "png"),
    size: str = "page",
    style: str | None = None,
) -> None:
    """Draw a figure from a folder of runs, as SVG and PNG or as asked for; without a name, list them all.

    Args:
        name: Such as fig05c; `all` draws every one that the folder has the runs for; module:name is one of your own.
        folder: Folder of runs.
        where: Further SQL condition on the runs.
        out: Folder of the pictures; RUNS/figures by default.
        formats: svg, png, pdf or eps; several are separated by blanks.
        size: page (180 mm wide at most), column (85 mm, of figures with one or two panels beside each other) or slide.
        style: A Matplotlib style on top of ours, by name or file; matplotlibrc for your own settings.
    """
    if not name:
        _list(folder)
        return
    if name == ALL:
        _draw_all(draw_all(load_runs(folder), where or None, size=size, sheet=style), folder, out, formats)
        return
    spec = find_figure(name)
    table = load_runs(folder) if spec.needs_runs else RunTable(Store(folder), [], [])
    drawn = draw(name, table, where or None, size=size, sheet=style)
    for file in save(drawn, out or folder / "figures", spec.name, formats):
        say(f"figure: {file.resolve()}")


def _table(folder: Path) -> RunTable:
    """The runs, or none where there is no such folder yet."""
    try:
        return load_runs(folder)
    except StoreError:
        return RunTable(Store(folder), [], [])


def _list(folder: Path) -> None:
    make_console().print(listing(_table(folder)))


def _draw_all(
    figures: Iterable[tuple[str, Figure | str]], folder: Path, out: Path | None, formats: tuple[str, ...]
) -> None:
    drawn = 0
    for name, found in figures:
        if isinstance(found, str):
            say(f"{name}: left out: {found}", sys.stderr)
            continue
        drawn += 1
        for file in save(found, out or folder / "figures", name, formats):
            say(f"figure: {file.resolve()}")
    if not drawn:
        raise MissingRunsError(f"{folder} has the runs of no figure; `grokfast figure` lists what each needs")

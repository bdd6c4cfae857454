"""The table of runs as the terminal shows it."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from grokfast._words import number
from grokfast.overview import overview
from grokfast.runs import RunTable


def summary_table(table: RunTable, *, whole: bool = False) -> Table:
    """Times, regime, accuracies, compressibility and the headline columns of each run's task and measures.

    Args:
        table: The runs.
        whole: Show every column instead.
    """
    if whole:
        return _whole(table)
    found = overview(table.rows, table.described())
    shown = Table(title=Text(found.legend), box=box.SIMPLE_HEAD, collapse_padding=True)
    usual = len(found.headings) - found.own
    for index, name in enumerate(found.headings):
        if index < usual:
            shown.add_column(Text(name), justify="right", no_wrap=True)
        else:
            shown.add_column(Text(name), justify="right", max_width=14)
    for cells in found.cells:
        shown.add_row(*map(Text, cells))
    return shown


def _whole(table: RunTable) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    names = table.columns
    for name in names:
        shown.add_column(Text(name), justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*(Text(number(row.get(name))) for name in names))
    return shown

"""The table of runs as the terminal shows it."""

from __future__ import annotations

from grokfast._tables import Fitted, Heading
from grokfast._words import number
from grokfast.overview import overview
from grokfast.runs import RunTable

_OWN = 14  # characters that a column of a measure's own has at most


def summary_table(table: RunTable, *, whole: bool = False) -> Fitted:
    """Times, regime, accuracies, compressibility and the headline columns of each run's task and measures.

    Args:
        table: The runs.
        whole: Show every column instead.
    """
    if whole:
        names = table.columns
        return Fitted(
            [Heading(name) for name in names], [[number(row.get(name)) for name in names] for row in table.rows]
        )
    found = overview(table.rows, table.described())
    usual = len(found.headings) - found.own
    headings = [
        Heading(name) if index < usual else Heading(name, least=1, most=_OWN, spare=True)
        for index, name in enumerate(found.headings)
    ]
    return Fitted(headings, found.cells, found.legend)

"""The table of runs as the terminal shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from grokfast.measures import Column
from grokfast.runs import RunTable

_TIMES = ("t_train", "t_test", "t_grok")


def summary_table(table: RunTable, *, whole: bool = False) -> Table:
    """Times, regime, accuracies, compressibility and the headline columns of each run's task and measures.

    Args:
        table: The runs.
        whole: Show every column instead.
    """
    described = table.described()
    own = list(described.values()) if whole else [column for column in described.values() if column.headline]
    own = [column for column in own if column.name != "compressibility"]
    if whole:
        return _whole(table)
    legend = "; ".join(f"{_words(column)}: {column.meaning}" for column in own)
    unsettled = any(row.get("settled") is False for row in table.rows)
    rising = "+: at least, since accuracy still rose in the last tenth" if unsettled else ""
    shown = Table(
        title=Text("; ".join(filter(None, ["epochs count from 1; c: compressibility", rising, legend]))),
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
    )
    several = len({row["task"] for row in table.rows}) > 1
    headings = [*(["task"] if several else []), "w0", "seed", *_TIMES, "regime", "test acc", "c"]
    for name in headings:
        shown.add_column(Text(name), justify="right", no_wrap=True)
    for column in own:
        shown.add_column(Text(_words(column)), justify="right", max_width=14)
    for row in table.rows:
        start = [*([str(row["task"])] if several else []), f"{row['w0']:g}", str(row["seed"])]
        shown.add_row(*(Text(cell) for cell in [*start, *_cells(row, own)]))
    return shown


def _cells(row: Mapping[str, Any], own: list[Column]) -> list[str]:
    if row["status"] == "failed":
        return [*["-"] * 3, "failed"]
    if row["status"] == "diverged":
        return [*["-"] * 3, f"diverged in epoch {row['diverged_epoch']}"]
    known = row.get("t_train") is not None
    rising = "+" if row.get("settled") is False else ""
    accuracy = row.get("end_test_accuracy")
    return [
        *[f"{row[name]}{rising}" if known else "-" for name in _TIMES],
        row["regime"] or "no accuracy",
        "-" if accuracy is None else f"{accuracy:.2%}",
        number(row.get("compressibility")),
        *[number(row.get(column.name)) for column in own],
    ]


def _whole(table: RunTable) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    names = table.columns
    for name in names:
        shown.add_column(Text(name), justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*(Text(number(row.get(name))) for name in names))
    return shown


def _words(column: Column) -> str:
    r"""A column's heading without the mathematics of axes: ``$\tilde{r}$`` is r~."""
    return re.sub(r"\\tilde\{(\w+)\}", r"\1~", column.heading).replace("$", "")


def number(value: object) -> str:
    """A value as a cell: whole numbers as they are, others with three significant digits."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.3g}"
    return str(value)

"""What is shown of runs first, on a terminal and in a notebook: times, regime, accuracy, compressibility, headlines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grokfast._words import number
from grokfast.measures import Column

_TIMES = ("t_train", "t_test", "t_grok")


@dataclass(frozen=True)
class Overview:
    """A table of runs as texts.

    Attributes:
        headings: One a column.
        cells: Of each run, one a column.
        own: How many of the last columns are measures' own.
        legend: What the headings mean.
    """

    headings: list[str]
    cells: list[list[str]]
    own: int
    legend: str


def overview(rows: Sequence[Mapping[str, Any]], described: Mapping[str, Column]) -> Overview:
    """Times, regime, accuracies, compressibility and the headline columns of each run's task and measures.

    Args:
        rows: Of a table of runs.
        described: What its measured columns mean.
    """
    own = [column for column in described.values() if column.headline and column.name != "compressibility"]
    unsettled = any(row.get("settled") is False for row in rows)
    rising = "+: at least, since accuracy still rose in the last tenth; its regime is so far" if unsettled else ""
    meanings = "; ".join(f"{in_words(column)}: {column.meaning}" for column in own)
    several = len({row["task"] for row in rows}) > 1
    cells = []
    for row in rows:
        start = [*([str(row["task"])] if several else []), f"{row['w0']:g}", str(row["seed"])]
        cells.append([*start, *_cells(row, own)])
    return Overview(
        headings=[
            *(["task"] if several else []), "w0", "seed", *_TIMES, "regime", "test acc", "c", *map(in_words, own)
        ],
        cells=cells,
        own=len(own),
        legend="; ".join(filter(None, ["epochs count from 1; c: compressibility", rising, meanings])),
    )  # fmt: skip


def _cells(row: Mapping[str, Any], own: list[Column]) -> list[str]:
    if row["status"] == "failed":
        told = [*["-"] * 3, "failed"]
    elif row["status"] == "diverged":
        told = [*["-"] * 3, f"diverged in epoch {row['diverged_epoch']}"]
    else:
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
    return [*told, *[""] * (2 + len(own))]


def in_words(column: Column) -> str:
    r"""A column's heading without the mathematics of axes: ``$\tilde{r}$`` is r~."""
    return re.sub(r"\\tilde\{(\w+)\}", r"\1~", column.heading).replace("$", "")

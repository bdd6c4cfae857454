"""One line of the claims ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grokfast.measures import Estimate


@dataclass(frozen=True)
class Row:
    """One line of the ledger.

    Attributes:
        claim: Its name in the list of the paper's claims.
        quantity: What was measured.
        paper: What the paper says.
        measured: With its interval.
        verdict: ``"yes"``, ``"no"``, or ``"-"`` where the paper says nothing or too little was measured.
    """

    claim: str
    quantity: str
    paper: str
    measured: str
    verdict: str


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; bars inside cells are escaped."""
    lines = [heading, ["---"] * len(heading), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def claims_table(rows: Sequence[Row]) -> list[str]:
    """The ledger as lines of a Markdown table."""
    return markdown_table(
        ("claim", "quantity", "paper", "measured", "agrees"),
        [(row.claim, row.quantity, row.paper, row.measured, row.verdict) for row in rows],
    )


def is_above_zero(value: Estimate) -> bool:
    """Whether the interval lies above 0; of one value, which has none, the value."""
    return value.mean > 0 if value.count < 2 else value.low > 0


def verdict(agrees: bool) -> str:
    """``"yes"`` or ``"no"``."""
    return "yes" if agrees else "no"

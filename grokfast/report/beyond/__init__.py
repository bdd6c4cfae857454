"""Past the paper: experiments with rules that were written before their runs, decided on the runs of a folder."""

from __future__ import annotations

from grokfast.report.beyond import borders, features, flatness, motion, only, phases, superposition
from grokfast.report.beyond.experiment import (
    EXPERIMENTS,
    Decided,
    Experiment,
    Outcome,
    Quantity,
    decide,
    experiment,
)
from grokfast.report.markdown import markdown_table
from grokfast.runs import RunTable

TOPICS = (only, superposition, borders, features, motion, phases, flatness)
"""The modules whose experiments are registered, in the order of ``docs/beyond.md``."""


def decide_all(table: RunTable) -> list[Decided]:
    """Every experiment on the runs of a folder, in the order of their numbers.

    Args:
        table: All runs of a store.
    """
    return [decide(EXPERIMENTS[number], table) for number in sorted(EXPERIMENTS)]


def beyond_report(table: RunTable) -> str:
    """The experiments past the paper: their rules' answers, and what these rest on."""
    lines: list[str] = ["# Past the paper", ""]
    for decided in decide_all(table):
        found = decided.experiment
        lines += [f"## {found.number} · {found.question}", ""]
        if decided.outcome is None:
            lines += ["Not decided: " + decided.problem.replace("\n", " "), ""]
            continue
        lines += [f"**{decided.outcome.answer}** ({'; '.join(decided.sizes)})", ""]
        rows = [(quantity.name, quantity.text, quantity.note) for quantity in decided.outcome.quantities]
        lines += [*markdown_table(("quantity", "estimate, 95 % interval", "note"), rows), ""]
    return "\n".join(lines)


__all__ = [
    "EXPERIMENTS",
    "TOPICS",
    "Decided",
    "Experiment",
    "Outcome",
    "Quantity",
    "beyond_report",
    "decide",
    "decide_all",
    "experiment",
]

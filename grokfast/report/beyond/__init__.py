"""Past the paper: experiments with rules that were written before their runs, decided on the runs of a folder."""

from __future__ import annotations

from grokfast.errors import MissingRunsError
from grokfast.report.beyond import borders, features, flatness, llc, motion, only, phases, superposition
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

TOPICS = (only, superposition, llc, borders, features, motion, phases, flatness)
"""The modules whose experiments are registered, in the order of ``docs/beyond.md``."""


def decide_all(table: RunTable) -> list[Decided]:
    """Every experiment on the runs of a folder, in the order of their numbers.

    Args:
        table: All runs of a store.
    """
    return [decide(EXPERIMENTS[number], table) for number in sorted(EXPERIMENTS)]


def beyond_report(table: RunTable) -> str:
    """The experiments past the paper: their rules' answers, and what these rest on.

    Args:
        table: All runs of a store.

    Raises:
        MissingRunsError: If none can be decided; the message has the commands that make the runs.
    """
    results = decide_all(table)
    if all(decided.outcome is None for decided in results):
        raise MissingRunsError("\n".join(dict.fromkeys(decided.problem for decided in results)))
    lines = [
        "# Past the paper",
        "",
        "Written by `grokfast report beyond`. Questions and rules: [beyond.md](beyond.md). Intervals are 95 %.",
        "",
    ]
    for decided in results:
        found = decided.experiment
        lines += [f"## {found.number} · [{found.question}](beyond/{found.page})", ""]
        if decided.outcome is None:
            lines += ["Not decided: " + " ".join(decided.problem.split()), ""]
            continue
        lines += [f"**{decided.outcome.answer}** ({'; '.join(decided.sizes)})", ""]
        rows = [(quantity.name, quantity.text, quantity.note) for quantity in decided.outcome.quantities]
        lines += [*markdown_table(("quantity", "estimate", "note"), rows), ""]
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

"""Past the paper: experiments with rules that were written before their runs, decided on the runs of a folder."""

from __future__ import annotations

from collections.abc import Sequence

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


_LEAST = 0.1


def decide_all(table: RunTable) -> list[Decided]:
    """Every experiment on the runs of a folder, in the order of their numbers.

    A study with less than a tenth of its cells decides nothing: the main text alone has a few of several studies.
    One with less than half of them decides on those there are, and its answer says so.

    Args:
        table: All runs of a store.
    """
    return [decide(EXPERIMENTS[number], table, _LEAST) for number in sorted(EXPERIMENTS)]


def beyond_report(results: Sequence[Decided]) -> str:
    """The experiments past the paper: their rules' answers, and what these rest on.

    Args:
        results: Of all experiments, in their order.

    Raises:
        MissingRunsError: If none could be decided; the message has the commands that make the runs.
    """
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
        lines += [f"**{decided.answer}** ({'; '.join(decided.sizes)})", ""]
        rows = [(quantity.name, quantity.text, quantity.note) for quantity in decided.outcome.quantities]
        lines += [*markdown_table(("quantity", "estimate", "note"), rows), ""]
    return "\n".join(lines)


def ledger_rows(results: Sequence[Decided]) -> list[str]:
    """The experiments as a section of the ledger: a line for each that could be decided; none without.

    Args:
        results: Of all experiments, in their order.
    """
    rows = [
        (
            f"[{found.number}](beyond/{found.page})",
            found.question,
            result.answer,
            "; ".join(result.sizes),
        )
        for result in results
        for found in [result.experiment]
        if result.outcome is not None
    ]
    if not rows:
        return []
    left = [str(result.experiment.number) for result in results if result.outcome is None]
    lines = [
        "## Past the paper",
        "",
        "Questions with rules that were written before their runs ([beyond.md](beyond.md)); their numbers: "
        "[beyond](beyond-table.md).",
        "",
        *markdown_table(("question", "asks", "answer by its rule", "runs"), rows),
        "",
    ]
    return [*lines, f"Not decided on these runs: {', '.join(left)}.", ""] if left else lines


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
    "ledger_rows",
]

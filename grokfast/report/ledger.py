"""The ledger: every claim in a line, with its verdict against the paper's figures and against its text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from grokfast.report.claims import ClaimResult, Verdict
from grokfast.report.markdown import headline, markdown_table

_HEADING = ("claim", "what the paper says", "what came out", "figures", "text", "table")
_WORDS = {Verdict.AGREES: "agree", Verdict.DIFFERS: "differ", Verdict.OPEN: "are open", Verdict.NONE: "have no value"}


def ledger_lines(results: Sequence[ClaimResult], tables: Mapping[str, Sequence[str]]) -> list[str]:
    """Counts, a table with a line a claim, and what was not measured, with the commands that make the runs.

    Args:
        results: Of the claims, in the order of the ledger.
        tables: Links to the pages that have all numbers of a claim, by its name.
    """
    measured = [result for result in results if result.findings]
    lines = [
        f"Of {len(results)} claims {len(measured)} were measured. Against the paper's figures "
        f"{_counts(measured, True)}; against its text {_counts(measured, False)}. A claim of several parts agrees "
        "where all of them do and differs where one does: its table tells which.",
        "",
        *markdown_table(_HEADING, [_row(result, tables) for result in measured]),
        "",
    ]
    missing: dict[str, list[str]] = {}
    for result in results:
        for reason in result.missing:
            missing.setdefault(reason, []).append(result.claim.name)
    rows = [f"- {', '.join(names)}: {reason}" for reason, names in missing.items()]
    return [*lines, "Not measured:", "", *rows, ""] if rows else lines


def _row(result: ClaimResult, tables: Mapping[str, Sequence[str]]) -> list[str]:
    claim = result.claim
    return [
        claim.name,
        claim.title,
        headline(result.parts),
        _verdict(result.against_figures),
        _verdict(result.against_prose),
        ", ".join(tables.get(claim.name, ())) or "-",
    ]


def _verdict(verdict: Verdict) -> str:
    return "no value" if verdict is Verdict.NONE else str(verdict)


def _counts(results: Sequence[ClaimResult], figures: bool) -> str:
    found = Counter(result.against_figures if figures else result.against_prose for result in results)
    return ", ".join(f"{found[verdict]} {words}" for verdict, words in _WORDS.items() if found[verdict])

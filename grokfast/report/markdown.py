"""Claims as Markdown: tables of at most six columns, appendices apart, verdicts beside the paper's values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from grokfast.report.claims import Case, ClaimResult, Finding, Part, Verdict, find_margin
from grokfast.report.wording import interval, measured
from grokfast.store.identity import declared_defaults
from grokfast.tasks import TASKS

HEADING = ("quantity", "measured", "n", "paper's figure", "paper's text", "verdict")


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; bars inside cells are escaped."""
    lines = [heading, ["---"] * len(heading), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def claim_lines(result: ClaimResult, parts: Sequence[Part], level: int = 2) -> list[str]:
    """A claim's section: what it says, its verdicts, a table for each setting, what could not be measured.

    Args:
        result: The claim's.
        parts: The settings that are shown.
        level: Of its heading.
    """
    claim = result.claim
    lines = [f"{'#' * level} {claim.name}: {claim.title}", ""]
    for part in parts:
        lines += [_caption(part), "", *_table(part.findings), ""]
        notes = [
            f"{finding.quantity}: {finding.note}" for finding in part.findings if finding.note and not finding.apart
        ]
        if notes:
            lines += [f"*Notes.* {'; '.join(dict.fromkeys(notes))}.", ""]
    if result.missing:
        lines += ["Not measured: " + "; ".join(result.missing) + ".", ""]
    return lines


def appendix_lines(results: Iterable[ClaimResult], task: str | None, level: int = 2) -> list[str]:
    """What stands apart, such as other metrics: one of them a table, for each claim.

    Args:
        results: The claims'.
        task: Only of this task; of all if None.
        level: Of the headings.
    """
    rows: dict[tuple[str, str], list[list[str]]] = {}
    for result in results:
        for part in result.parts:
            for finding in part.findings:
                if finding.apart and task in (None, finding.task):
                    quantity = finding.quantity.removesuffix(f", {finding.apart}")
                    place = (part.case.title, finding.apart)
                    rows.setdefault(place, []).append([finding.claim, quantity, measured(finding), _count(finding)])
    lines: list[str] = []
    for (title, apart), found in rows.items():
        lines += [f"{'#' * level} {title}: {apart}", ""]
        lines += [*markdown_table(("claim", "quantity", "measured", "n"), found), ""]
    return lines


def verdict_text(figure: Verdict, prose: Verdict) -> str:
    """Both verdicts in a cell: ``agrees``; ``figure agrees, text differs``; ``-`` without a value of the paper's."""
    found = {name: verdict for name, verdict in (("figure", figure), ("text", prose)) if verdict is not Verdict.NONE}
    if not found:
        return "-"
    if len(set(found.values())) == 1 and len(found) == 2:
        return f"{figure} with both"
    return ", ".join(f"{name} {verdict}" for name, verdict in found.items())


def headline(parts: Sequence[Part], most: int = 3) -> str:
    """The first findings of each setting that are compared with the paper, in a line.

    Settings of one's own beside the paper's have their tables elsewhere: they change nothing here.

    Args:
        parts: A claim's.
        most: How many, of one setting; fewer of each where there are several.
    """
    parts = [part for part in parts if part.case.study is not None] or parts
    texts = []
    for part in parts:
        compared = [finding for finding in part.findings if finding.expected.figure or finding.expected.prose]
        shown = [finding for finding in compared if finding.estimate is not None][: most - (len(parts) > 1)]
        text = "; ".join(f"{finding.quantity}: {measured(finding)}" for finding in shown)
        if text:
            texts.append(f"*{_where(part, parts)}*: {text}" if len(parts) > 1 else text)
    return ". ".join(texts) or "-"


def _where(part: Part, parts: Sequence[Part]) -> str:
    """What tells a setting from the others: the task, or the study where the task is the same."""
    alike = [other for other in parts if other.case.task == part.case.task]
    return part.case.title if len(alike) == 1 else part.case.study or part.case.title


def _caption(part: Part) -> str:
    case = part.case
    config = case.runs[0].record["config"]
    scales = ", ".join(f"{w0:g}" for w0 in case.scales)
    own = {name: value for name, value in config["task"].items() if name != "name" and value != _usual(case, name)}
    fields = ", ".join(f"{name} = {value}" for name, value in own.items())
    study = f"`{case.study}`" if case.study else "a setting of its own, without the paper's values"
    study += f"; {fields}" if fields else ""
    return (
        f"**{case.title}** ({study}): {len(case.runs)} runs, w0 in {{{scales}}}, {len(case.seeds)} seeds, "
        f"{config['epochs']:,} epochs, batch {config['batch_size']}, weight decay {config['weight_decay']:g}."
    )


def _usual(case: Case, name: str) -> object:
    """What a field of the task is by default."""
    kind = TASKS.get(case.task)
    return declared_defaults(kind).get(name) if kind else None


def _table(findings: Sequence[Finding]) -> list[str]:
    return markdown_table(HEADING, [list(_row(finding)) for finding in findings if not finding.apart])


def _row(finding: Finding) -> Iterator[str]:
    expected = finding.expected
    yield finding.quantity
    yield measured(finding)
    yield _count(finding)
    yield f"{expected.figure.text} ({expected.figure.source})" if expected.figure else "-"
    yield expected.prose.text if expected.prose else "-"
    yield verdict_text(finding.against_figure, finding.against_prose)


def _count(finding: Finding) -> str:
    return f"{finding.estimate.count}, {finding.of}" if finding.estimate else "-"


def margins_text(results: Iterable[ClaimResult]) -> str:
    """The margins that some claims were judged by, in a sentence."""
    kinds = dict.fromkeys(finding.kind for result in results for finding in result.findings)
    return "; ".join(f"{find_margin(kind).text} for {find_margin(kind).meaning}" for kind in kinds)


__all__ = [
    "HEADING",
    "appendix_lines",
    "claim_lines",
    "headline",
    "interval",
    "margins_text",
    "markdown_table",
    "verdict_text",
]

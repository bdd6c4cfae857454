"""The reports: which claims and tables each page has, on whatever runs there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grokfast.errors import MissingRunsError
from grokfast.report.beyond import beyond_report, decide_all, ledger_rows
from grokfast.report.claims import ClaimResult, Part, evaluate_all
from grokfast.report.ledger import ledger_lines
from grokfast.report.markdown import appendix_lines, claim_lines, margins_text
from grokfast.report.scales import scale_lines
from grokfast.runs import RunTable
from grokfast.studies import find_study


@dataclass(frozen=True)
class Report:
    """One page.

    Attributes:
        name: As on the command line.
        title: Of the page.
        text: What it shows, in a line.
        file: What it is called under ``docs``.
        claims: Names of its claims; all if empty.
        tasks: Of these tasks and of tasks that are not the paper's; of all if empty.
        scales: Whether tables by w0 follow.
    """

    name: str
    title: str
    text: str
    file: str
    claims: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    scales: bool = False

    def parts(self, result: ClaimResult) -> list[Part]:
        """What of a claim's settings the page shows."""
        return [part for part in result.parts if not self.tasks or part.case.task in self.tasks or not part.case.study]

    def write(self, table: RunTable) -> str:
        """The page as Markdown.

        Args:
            table: Runs of any settings and tasks.

        Raises:
            MissingRunsError: If none of its claims can be measured on them; the message has the commands that make
                the runs.
        """
        results = evaluate_all(table, self.claims)
        shown = [(result, parts) for result in results if (parts := self.parts(result))]
        if not shown:
            raise _nothing(self, results, table)
        lines = [f"# {self.title}", "", *_preface([result for result, _ in shown], self.name)]
        if not self.claims:
            return "\n".join([*lines, *ledger_lines(results, _links()), *ledger_rows(decide_all(table))])
        for result, parts in shown:
            lines += claim_lines(result, parts)
        if self.scales:
            largest = max((part for _, parts in shown for part in parts), key=_weight)
            lines += scale_lines(largest.case.runs)
        tasks = {part.case.task for _, parts in shown for part in parts}
        appendix = [line for task in sorted(tasks) for line in appendix_lines(results, task, 3)]
        if appendix:
            lines += ["## Appendix", "", "The same in other readings; nothing is compared here.", "", *appendix]
        return "\n".join([*lines[:-1], ""]) if lines[-1] == "" else "\n".join([*lines, ""])


@dataclass(frozen=True)
class BeyondReport(Report):
    """The experiments past the paper, which have rules of their own."""

    def write(self, table: RunTable) -> str:
        """Every experiment's answer, and what it rests on."""
        return beyond_report(decide_all(table))


def _weight(part: Part) -> tuple[bool, int]:
    """The paper's own setting before others, then the one with the most runs."""
    return part.case.study is not None, len(part.case.runs)


def _links() -> dict[str, list[str]]:
    """Links to the pages of each claim."""
    found: dict[str, list[str]] = {}
    for report in REPORTS.values():
        for name in report.claims:
            found.setdefault(name, []).append(f"[{report.name}]({report.file})")
    return found


def _preface(results: Sequence[ClaimResult], name: str) -> list[str]:
    return [
        f"Written by `grokfast report {name}`. Intervals are 95 % (Student's t over seeds or runs; fits take runs as "
        "independent, although each seed's split recurs at every w0); times are medians with the range of the seeds. "
        "Learning is the smallest w0, grokking the largest. A result *agrees* where its whole interval lies inside the "
        "margin around the paper's value, *differs* where all of it lies outside, and is *open* otherwise. Margins: "
        f"{margins_text(results)}.",
        "",
    ]


def _nothing(report: Report, results: Sequence[ClaimResult], table: RunTable) -> MissingRunsError:
    reasons = dict.fromkeys(reason for result in results for reason in result.missing)
    studies = dict.fromkeys(name for result in results for name in result.claim.studies)
    commands = [f"  {find_study(name).command} --runs {table.store.named}" for name in studies]
    return MissingRunsError(
        f"report {report.name} can measure none of its claims on the runs in {table.store.named}:\n"
        + "\n".join(f"  {reason}" for reason in list(reasons)[:8])
        + "\nmake runs with\n"
        + "\n".join(commands)
    )


_FOUND = (
    Report("claims", "The paper's claims, measured", "every claim in a line, with both verdicts", "claims.md"),
    Report(
        "modular-addition",
        "Modular addition: measured against claimed",
        "learning times, features and compressibility of modular addition, by claim and by w0",
        "modular-addition-table.md",
        ("G1", "G2", "F2", "C1", "M1", "M2", "M4"),
        ("modular-addition",),
        scales=True,
    ),
    Report(
        "ising",
        "Ising phases: measured against claimed",
        "learning times, features, compressibility and dynamics of the Ising task, by claim and by w0",
        "ising-learning-table.md",
        ("G1", "G2", "F1", "C5", "D1", "D2", "M1", "M4", "M5"),
        ("ising",),
        scales=True,
    ),
    Report(
        "pruning",
        "Pruning: measured against claimed",
        "compressibility in other settings, against other measures, and by other schemes of pruning",
        "pruning-table.md",
        ("C1", "C2", "C3", "C4", "C6", "C7", "M3", "M8"),
    ),
    Report(
        "dynamics",
        "Dynamics: measured against claimed",
        "features and compressibility along the way of modular addition",
        "dynamics-table.md",
        ("D1", "D2"),
        ("modular-addition",),
    ),
    Report(
        "geometry",
        "Geometry of the trajectory: measured against claimed",
        "steps in the paper's metric, and in every other that was measured",
        "geometry-table.md",
        ("I1", "I2", "I3", "I4", "I5", "M6", "M7"),
    ),
    BeyondReport("beyond", "Past the paper", "questions past the paper, each decided by its rule", "beyond-table.md"),
)

REPORTS: Mapping[str, Report] = {report.name: report for report in _FOUND}
"""The reports by name."""


def listing() -> str:
    """The reports as lines of text: what each is called, and what it shows."""
    width = max(map(len, REPORTS))
    return "\n".join(
        f"{name:{width}}  {report.text}{f' ({chr(44).join(report.claims)})' if report.claims else ''}"
        for name, report in REPORTS.items()
    )

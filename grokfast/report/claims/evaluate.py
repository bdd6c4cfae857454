"""Claims evaluated on a table of runs: of the paper's studies, or of any setting and task of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from grokfast.errors import InputError, MissingRunsError
from grokfast.figures.choose import Group, groups_of, task_of, title_of
from grokfast.report.claims.claim import CLAIMS, Case, Claim, Finding
from grokfast.report.claims.verdict import Verdict, together
from grokfast.runs import Run, RunTable
from grokfast.studies import STUDIES, Setting, find_study, is_alike


@dataclass(frozen=True)
class Part:
    """A claim on the runs of one setting.

    Attributes:
        case: The runs.
        findings: What was measured on them, beside what the paper has.
    """

    case: Case
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ClaimResult:
    """What a claim came to.

    Attributes:
        claim: The claim.
        parts: One a setting that it was measured on.
        missing: Why it was not measured on others: a line each, by study or task; with the command that makes the runs
            where there is one.
    """

    claim: Claim
    parts: tuple[Part, ...]
    missing: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all parts."""
        return tuple(finding for part in self.parts for finding in part.findings)

    @property
    def against_prose(self) -> Verdict:
        """The verdict against the paper's text, all findings together."""
        return together([finding.against_prose for finding in self.findings])

    @property
    def against_figures(self) -> Verdict:
        """The verdict against the paper's figures, all findings together."""
        return together([finding.against_figure for finding in self.findings])

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the runs."""
        return tuple(dict.fromkeys(run.key for part in self.parts for run in part.case.runs))


def evaluate_all(table: RunTable, only: Sequence[str] = ()) -> list[ClaimResult]:
    """All claims, or some, in the order of the ledger.

    Args:
        table: Runs of any settings and tasks.
        only: Names of claims; all if empty.

    Raises:
        InputError: If there is no claim of such a name.
    """
    unknown = [name for name in only if name not in CLAIMS]
    if unknown:
        raise InputError(f"claims must be among {', '.join(CLAIMS)}, got {', '.join(unknown)}")
    read = ReadTable(table.store, table.rows, table.damaged)
    return [evaluate(found, read) for name, found in CLAIMS.items() if not only or name in only]


class ReadTable(RunTable):
    """A table whose runs are the same objects each time: what one claim has read of them is there for the next."""

    def __iter__(self) -> Iterator[Run]:
        if not hasattr(self, "_runs"):
            self._runs = list(super().__iter__())
        return iter(self._runs)


def evaluate(claim: Claim, table: RunTable) -> ClaimResult:
    """One claim on every setting of the table that it speaks of.

    A study's runs are those of its setting, or else of its like on another size of the task; at any length: of several
    such settings that with the most w0, then the most runs, then the longest. Runs of no study of the package are
    measured too, each setting for itself, without the paper's values; for a claim without studies all runs are. Runs of
    the package's other studies, which answer other questions, are only where the paper's own are not there.

    Args:
        claim: The claim.
        table: The runs.
    """
    needs = claim.needs
    groups = groups_of(table, needs.columns, needs.curves, needs.kept)
    parts: list[Part] = []
    missing: list[str] = []
    for name in claim.studies:
        for task in sorted({str(setting.fields["task.name"]) for setting in find_study(name).settings}):
            if claim.tasks and task not in claim.tasks:
                continue
            ours = [group for group in groups if group.setting.fields["task.name"] == task and _belongs(group, name)]
            able = [group for group in ours if group.scales >= needs.scales and group.runs]
            able = [group for group in able if _is_exact(group)] or able
            if able:
                parts.append(_part(claim, max(able, key=_size), name))
            else:
                missing.append(f"{name}, {task}: {_lack(claim, ours)}; {find_study(name).command}")
    apart = _other_settings() if parts else frozenset()
    for group in groups:
        if group.setting.of_any_length in apart:
            continue
        if not claim.studies or not (_is_exact(group) or _stands_in(group, groups)):
            reason = claim.only or ("" if group.runs and group.scales >= needs.scales else _lack(claim, [group]))
            if reason:
                missing.append(f"{group.setting.fields['task.name']}: not applicable, {reason}")
            else:
                parts.append(_part(claim, group, None))
    return ClaimResult(claim, tuple(parts), tuple(dict.fromkeys(missing)))


@cache
def _settings() -> frozenset[Setting]:
    """The settings of all studies that claims name."""
    names = dict.fromkeys(name for claim in CLAIMS.values() for name in claim.studies)
    return frozenset(setting for name in names for setting in find_study(name).settings)


@cache
def _other_settings() -> frozenset[Setting]:
    """The settings of the package's studies that no claim names."""
    return frozenset(setting for study in STUDIES.values() for setting in study.settings) - _settings()


def _belongs(group: Group, study: str) -> bool:
    return any(is_alike(group.setting, setting) for setting in find_study(study).settings)


def _is_exact(group: Group) -> bool:
    return group.setting.of_any_length in _settings()


def _stands_in(group: Group, groups: Sequence[Group]) -> bool:
    """Whether it is like a study's setting, and the table has no runs of that very setting."""
    there = {other.setting.of_any_length for other in groups}
    return any(is_alike(group.setting, setting) and setting not in there for setting in _settings())


def _size(group: Group) -> tuple[int, int, float]:
    return group.scales, len(group.runs), float(group.setting.fields["epochs"])


def _part(claim: Claim, group: Group, study: str | None) -> Part:
    runs = group.runs
    case = Case(claim.name, task_of(runs[0]), title_of(runs), study, runs)
    return Part(case, tuple(_measured(claim, case)))


def _measured(claim: Claim, case: Case) -> Iterator[Finding]:
    try:
        yield from claim.measure(case)
    except (InputError, MissingRunsError) as error:
        yield Finding(claim.name, case.task, "not measured", None, note=str(error))


def _lack(claim: Claim, groups: Sequence[Group]) -> str:
    lacks = next((group.lacks for group in groups if group.lacks and not group.runs), None)
    if lacks:
        return f"its runs lack {', '.join(lacks)}"
    scales = max((group.scales for group in groups), default=0)
    return f"needs {claim.needs.scales} or more values of w0, found {scales}" if scales else "no finished runs"

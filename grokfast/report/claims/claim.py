"""A claim of the paper: what it says, which runs show it, and the function that measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokfast._registry import Registry, place_of
from grokfast.figures.choose import by_scale, seed_of
from grokfast.figures.curves import loss_unit
from grokfast.figures.kept import measured
from grokfast.measures import Estimate, mean_interval, proportion
from grokfast.report.claims.expected import NOTHING, Expected, expected_of
from grokfast.report.claims.verdict import Verdict, find_margin, judge
from grokfast.runs import Run


@dataclass(frozen=True)
class Finding:
    """One quantity of a claim, measured, beside what the paper has.

    Attributes:
        claim: The claim's name.
        task: The task's name.
        quantity: What was measured.
        estimate: With its interval and the number of values; None where it could not be measured.
        kind: Which margin of ``margins.toml`` counts.
        unit: Of the estimate; empty for a pure number.
        of: What the estimate is: ``"mean of seeds"``, ``"slope over runs"``, ``"median and range of seeds"``.
        spec: How its digits are shown; empty to show them by the interval.
        expected: The paper's values.
        grid: Values of w0 of the runs, rising.
        note: What else a reader should know, such as by seed.
        apart: The table of an appendix that it stands in, such as that of a metric; empty for the claim's own.
    """

    claim: str
    task: str
    quantity: str
    estimate: Estimate | None
    kind: str = "ratio"
    unit: str = ""
    of: str = "mean of seeds"
    spec: str = ""
    expected: Expected = NOTHING
    grid: tuple[float, ...] = ()
    note: str = ""
    apart: str = ""

    @property
    def against_prose(self) -> Verdict:
        """The verdict against the paper's text."""
        return judge(self.estimate, self.expected.prose, find_margin(self.kind), self.grid)

    @property
    def against_figure(self) -> Verdict:
        """The verdict against the paper's figure."""
        return judge(self.estimate, self.expected.figure, find_margin(self.kind), self.grid)


@dataclass(frozen=True)
class Case:
    """What a claim is measured on: runs of one setting, all of which have what it needs.

    Attributes:
        claim: The claim's name.
        task: The task's name.
        title: The task's title.
        study: The study whose setting the runs have; None for any other.
        runs: In the order of w0 and seed.
        apart: The appendix that its findings stand in, where nothing is compared; empty for the claim's own table.
    """

    claim: str
    task: str
    title: str
    study: str | None
    runs: Sequence[Run]
    apart: str = ""

    @cached_property
    def scales(self) -> dict[float, list[Run]]:
        """Runs by w0, rising."""
        return by_scale(self.runs)

    @property
    def loss_unit(self) -> str:
        """The unit of its losses, ``nat`` or none."""
        return loss_unit(self.runs[0])

    @property
    def learning(self) -> list[Run]:
        """Runs of the smallest w0, which stand for learning."""
        return self.scales[min(self.scales)]

    @property
    def grokking(self) -> list[Run]:
        """Runs of the largest w0, which stand for grokking."""
        return self.scales[max(self.scales)]

    @property
    def sides(self) -> dict[str, list[Run]]:
        """Both, by name; one where there is one w0."""
        return {"learning": self.learning, **({"grokking": self.grokking} if len(self.scales) > 1 else {})}

    @property
    def seeds(self) -> list[int]:
        """Its seeds, rising."""
        return sorted({seed_of(run) for run in self.runs})

    def has(self, *columns: str) -> bool:
        """Whether all runs have a number in each column."""
        return all(np.isfinite(self.values(column)).all() for column in columns)

    def values(self, column: str, runs: Sequence[Run] | None = None) -> NDArray[np.float64]:
        """A number of the summary, or a kept measure, of every run ``[n]``; NaN where a run has none.

        Learning times of a run whose accuracy still rises at its end are lower bounds, and NaN here.
        """
        chosen = self.runs if runs is None else runs
        return np.array([_scalars(run).get(column, np.nan) for run in chosen])

    def finding(
        self,
        quantity: str,
        found: Estimate | ArrayLike | None,
        kind: str = "ratio",
        unit: str = "",
        *,
        given: Mapping[str, float] | None = None,
        place: str = "",
        **more: str,
    ) -> Finding:
        """A quantity beside what the paper has of it on this task.

        Args:
            quantity: Its name in the file of the paper's values.
            found: Its estimate; or values, of which the mean is taken, those that are not finite left out.
            kind: Of margin.
            unit: Its unit.
            given: Where the paper's curve is read, if that depends on the runs.
            place: What is said of that behind the quantity: ``w0 = 2``.
            more: ``of``, ``spec`` and ``note`` of the finding.
        """
        if found is not None and not isinstance(found, Estimate):
            values = np.asarray(found, dtype=np.float64)
            values = values[np.isfinite(values)]
            found = mean_interval(values) if values.size else None
        expected = NOTHING
        if self.study is not None and not self.apart:
            expected = expected_of(self.task).get(self.claim, {}).get(quantity, NOTHING).at(**(given or {}))
        name = ", ".join(part for part in (quantity, place, self.apart) if part)
        shown = {"expected": expected, "grid": tuple(self.scales), "apart": self.apart}
        return Finding(self.claim, self.task, name, found, kind, unit, **shown, **more)  # type: ignore[arg-type]

    def curve_of(
        self, runs: Sequence[Run], column: str, reduce: Callable[..., float], **given: float
    ) -> NDArray[np.float64]:
        """A number of every run's curve ``[n]``, of those that have one; ``since`` and ``until`` bound its epochs."""
        since, until = given.pop("since", -np.inf), given.pop("until", np.inf)
        found = []
        for run in runs:
            x, y = (np.asarray(values, dtype=np.float64) for values in run.seen(column))
            inside = (x >= since) & (x <= until)
            if inside.any():
                found.append(reduce(x[inside], y[inside], **given))
        return np.array(found)


Measure: TypeAlias = Callable[[Case], Iterator[Finding]]


@dataclass(frozen=True)
class Needs:
    """What a claim needs of the runs it is measured on.

    Attributes:
        columns: What each run must have: of its summary, arrays, history or kept measures; ``*`` stands for anything.
        curves: Columns of the history that it must have at two epochs or more.
        kept: Kept curves of the end model (``pruning-global``).
        scales: How many w0 there must be.
    """

    columns: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    scales: int = 1


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        name: ``C1``.
        title: What the paper claims, in our words.
        topic: The chapter of the ledger.
        figures: The paper's figures that show it.
        studies: Studies whose runs it is measured on; one case each.
        measure: Gives its findings on a case.
        needs: What those runs must have.
        tasks: Of a study with several, the tasks it speaks of; all if empty.
        only: Why it means nothing on runs of another setting or task; empty where it does.
    """

    name: str
    title: str
    topic: str
    figures: tuple[str, ...]
    studies: tuple[str, ...]
    measure: Measure
    needs: Needs = Needs()
    only: str = ""
    tasks: tuple[str, ...] = ()

    @property
    def function(self) -> str:
        """Where it is measured: ``module:function``."""
        return place_of(self.measure)


_LETTERS = "GFCDIM"


def _place(name: str) -> tuple[int, int, str]:
    letter, number = name[:1], name[1:]
    ours = letter in _LETTERS and number.isdecimal()
    return (_LETTERS.index(letter), int(number), "") if ours else (len(_LETTERS), 0, name)


_REGISTRY: Registry[str, Claim] = Registry("claim", place=lambda found: place_of(found.measure), order=_place)

CLAIMS: Mapping[str, Claim] = _REGISTRY
"""The registered claims by name, in the order of the ledger: the paper's by letter and number, then one's own."""


def claim(
    name: str,
    title: str,
    *,
    topic: str,
    figures: tuple[str, ...],
    studies: tuple[str, ...],
    needs: Needs = Needs(),
    only: str = "",
    tasks: tuple[str, ...] = (),
) -> Callable[[Measure], Measure]:
    """Register the function that measures a claim.

    Args:
        name: ``C1``.
        title: As the other arguments, see :class:`Claim`.
        topic: Chapter of the ledger.
        figures: Of the paper.
        studies: Whose runs it is measured on.
        needs: What those must have.
        only: Why it means nothing on other runs.
        tasks: Of those of the studies, the tasks it speaks of.

    Raises:
        ConfigError: If another function measures a claim of that name.
    """

    def register(measure: Measure) -> Measure:
        found = Claim(name, title, topic, figures, studies, measure, needs, only, tasks)
        _REGISTRY.add(name, found)
        return measure

    return register


def share_of(hits: Sequence[bool]) -> Estimate | None:
    """Share of runs of which something holds, with its exact 95 % interval; None without any."""
    return proportion(sum(map(bool, hits)), len(hits)) if len(hits) else None


def paired(one: Sequence[Run], other: Sequence[Run], column: str) -> NDArray[np.float64]:
    """Differences of a number, other less one, of the seeds that both have ``[n]``."""
    first, second = ({seed_of(run): _scalars(run).get(column, np.nan) for run in runs} for runs in (one, other))
    return np.array([second[seed] - first[seed] for seed in sorted(first.keys() & second.keys())])


_SCALARS: WeakKeyDictionary[Run, dict[str, float]] = WeakKeyDictionary()


def _scalars(run: Run) -> dict[str, float]:
    """The run's numbers, read from its files once."""
    if run not in _SCALARS:
        _SCALARS[run] = measured(run)
    return _SCALARS[run]


def median_range(values: ArrayLike) -> Estimate | None:
    """Median with the range of the values, which may be infinite; None without any."""
    found = np.asarray(values, dtype=np.float64)
    found = found[~np.isnan(found)]
    if not found.size:
        return None
    return Estimate(float(np.median(found)), float(found.min()), float(found.max()), int(found.size))

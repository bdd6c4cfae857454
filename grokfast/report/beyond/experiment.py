"""Experiments past the paper: a question, a rule written before the runs, and the function that applies it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from grokfast._registry import Registry, place_of
from grokfast.errors import GrokfastError
from grokfast.measures import Estimate
from grokfast.runs import Run, RunTable
from grokfast.studies import HALF, Stored, find_study, stored_by_size


@dataclass(frozen=True)
class Quantity:
    """One measured number of an experiment.

    Attributes:
        name: What was measured, on which runs.
        estimate: With its interval; None where it could not be measured.
        note: What the rule makes of it, or why it is not there.
        spec: How its digits are shown.
    """

    name: str
    estimate: Estimate | None
    note: str = ""
    spec: str = ".3g"

    @property
    def text(self) -> str:
        """The estimate as text; ``not measured`` without."""
        if self.estimate is None:
            return "not measured"
        if math.isfinite(self.estimate.low) or self.estimate.count < 2:
            return f"{self.estimate:{self.spec}}".removesuffix(" (one value)")
        return f"{self.estimate.mean:{self.spec}} (no interval)"


@dataclass(frozen=True)
class Outcome:
    """What the decision rule comes to.

    Attributes:
        answer: In a few words, no stronger than the rule allows.
        quantities: What it rests on.
    """

    answer: str
    quantities: tuple[Quantity, ...]


RunsByStudy: TypeAlias = Mapping[str, Sequence[Run]]
Decide: TypeAlias = Callable[[RunsByStudy], Outcome]


@dataclass(frozen=True)
class Experiment:
    """One question.

    Attributes:
        number: Its place in ``docs/beyond.md``.
        question: In one line.
        studies: Whose runs it needs.
        optional: Studies whose runs it takes as well where they are there.
        figure: The figure that shows it.
        page: Where its rule is written.
        decide: Applies the rule.
    """

    number: int
    question: str
    studies: tuple[str, ...]
    figure: str
    page: str
    decide: Decide
    optional: tuple[str, ...] = ()


_REGISTRY: Registry[int, Experiment] = Registry("experiment", place=lambda found: place_of(found.decide), order=int)

EXPERIMENTS: Mapping[int, Experiment] = _REGISTRY
"""The registered experiments by number."""


def experiment(
    number: int, question: str, *, studies: tuple[str, ...], figure: str, page: str, optional: tuple[str, ...] = ()
) -> Callable[[Decide], Decide]:
    """Register the function that decides an experiment.

    Args:
        number: As the other arguments, see :class:`Experiment`.
        question: In one line.
        studies: Whose runs it needs.
        figure: The figure that shows it.
        page: File name of its page in ``docs/beyond``.
        optional: Studies whose runs it takes where they are there.

    Raises:
        ConfigError: If another function decides an experiment of that number.
    """

    def register(decide: Decide) -> Decide:
        found = Experiment(number, question, studies, figure, page, decide, optional)
        _REGISTRY.add(number, found)
        return decide

    return register


@dataclass(frozen=True)
class Decided:
    """An experiment with what came out of it.

    Attributes:
        experiment: The experiment.
        outcome: None where runs are missing.
        sizes: Of each study, the size and how many runs and cells there were, in words.
        problem: Why there is no outcome.
        partial: Studies of which most cells are missing, in words; empty where there are none.
    """

    experiment: Experiment
    outcome: Outcome | None
    sizes: tuple[str, ...] = field(default=())
    problem: str = ""
    partial: str = ""

    @property
    def answer(self) -> str:
        """The outcome's answer, and before it that most runs are missing where they are; empty without an outcome."""
        if self.outcome is None:
            return ""
        missing = f"most runs are missing ({self.partial}); on the others: " if self.partial else ""
        return f"{missing}{self.outcome.answer}"


def decide(found: Experiment, table: RunTable, least: float = 0.0) -> Decided:
    """Apply an experiment's rule to the runs of a folder; measures that are lacking are taken and kept.

    The rule sees cells (one setting at one w0) of which at least half of the seeds are there: a few seeds of each cell
    look like a whole study and are none. Of the sizes of its studies the first that can be decided is taken, in the
    order of :func:`grokfast.studies.stored_by_size`.

    Args:
        found: The experiment.
        table: All runs of a store.
        least: Share of each study's cells without which nothing is decided.
    """
    sizes = stored_by_size(table, found.studies, found.optional) or [{}]
    first, *others = sizes
    decided = _decide_at(found, first, least)
    if decided.outcome is None:
        tried = (_decide_at(found, stored, least) for stored in others)
        decided = next((other for other in tried if other.outcome is not None), decided)
    return decided


def _decide_at(found: Experiment, stored: Mapping[str, Stored], least: float) -> Decided:
    """The rule on the runs of one size, by study."""
    absent = next((study for study in found.studies if study not in stored), None)
    if absent is not None:
        problem = f"there are no runs of the study {absent}; `{find_study(absent).command}` makes them"
        return Decided(found, None, problem=problem)
    words = tuple(map(_counted, stored.values()))
    needed = [stored[study] for study in found.studies]
    lowest = min(each.share for each in needed)
    if lowest < least or not lowest:
        few = f"fewer than {least:.0%} of the cells" if lowest else "none of the cells"
        return Decided(found, None, words, f"{few} of a study have half of their seeds: {', '.join(words)}")
    partial = ", ".join(
        f"{each.cells} of {each.all_cells} cells of {each.study.name} are there" for each in needed if each.share < HALF
    )
    try:
        outcome = found.decide({study: each.counted for study, each in stored.items() if each.counted})
    except GrokfastError as error:
        return Decided(found, None, words, str(error))
    return Decided(found, outcome, words, partial=partial)


def _counted(stored: Stored) -> str:
    """How many runs of a study there are, and what is missing: ``beyond-only (laptop): 84 runs, 42 missing``."""
    text = f"{stored.study.name} ({stored.size}): {len(stored.runs)} runs"
    if stored.missing:
        text += f", {stored.missing} missing, {stored.cells} of {stored.all_cells} cells"
    left = len(stored.runs) - len(stored.counted)
    return f"{text} ({left} runs in cells with fewer than half left out)" if left else text

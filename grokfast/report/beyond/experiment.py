"""Experiments past the paper: a question, a rule written before the runs, and the function that applies it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from grokfast._registry import Registry, place_of
from grokfast.errors import GrokfastError, MissingRunsError
from grokfast.measures import Estimate
from grokfast.runs import Run, RunTable
from grokfast.studies import find_study, stored_runs


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
        sizes: Of each study, the size and how many runs there were, in words.
        problem: Why there is no outcome.
    """

    experiment: Experiment
    outcome: Outcome | None
    sizes: tuple[str, ...] = field(default=())
    problem: str = ""


def decide(found: Experiment, table: RunTable, least: float = 0.0) -> Decided:
    """Apply an experiment's rule to the runs of a folder; measures that are lacking are taken and kept.

    Args:
        found: The experiment.
        table: All runs of a store.
        least: Share of each study's runs without which nothing is decided.
    """
    runs: dict[str, Sequence[Run]] = {}
    sizes, shares = [], []
    for study in (*found.studies, *found.optional):
        try:
            stored = stored_runs(table, study)
        except MissingRunsError:
            if study in found.optional:
                continue
            problem = f"there are no runs of the study {study}; `{find_study(study).command}` makes them"
            return Decided(found, None, problem=problem)
        if study in found.studies:
            shares.append(len(stored.runs) / (len(stored.runs) + stored.missing))
        runs[study] = stored.runs
        missing = f", {stored.missing} missing" if stored.missing else ""
        sizes.append(f"{study} ({stored.size}): {len(stored.runs)} runs{missing}")
    if min(shares) < least:
        few = f"fewer than {least:.0%} of the runs of a study are there: {', '.join(sizes)}"
        return Decided(found, None, tuple(sizes), few)
    try:
        return Decided(found, found.decide(runs), tuple(sizes))
    except GrokfastError as error:
        return Decided(found, None, tuple(sizes), str(error))

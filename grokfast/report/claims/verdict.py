"""Verdicts by equivalence: whether an interval lies inside the margin around what the paper has."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

import numpy as np

from grokfast._checks import nearest
from grokfast.errors import InputError
from grokfast.measures import Estimate


class Verdict(StrEnum):
    """What a comparison with the paper comes to."""

    AGREES = "agrees"
    """The whole interval lies inside the margin."""

    DIFFERS = "differs"
    """The whole interval lies outside the margin."""

    OPEN = "open"
    """Neither: the interval is too wide, or there is none."""

    NONE = "no value"
    """The paper has nothing to compare with."""


@dataclass(frozen=True)
class Margin:
    """How far from the paper's value a measured one may lie.

    Attributes:
        kind: Its name in ``margins.toml``.
        relative: A share of the value.
        absolute: In the unit of the quantity; the wider of both counts.
        steps: Of the grid of w0.
        meaning: What it is for.
    """

    kind: str
    relative: float = 0.0
    absolute: float = 0.0
    steps: int = 0
    meaning: str = ""

    @property
    def text(self) -> str:
        """``10 %``, ``0.05``, ``one grid step``."""
        if self.steps:
            return "one grid step" if self.steps == 1 else f"{self.steps} grid steps"
        parts = [f"{self.relative:.0%}".replace("%", " %")] if self.relative else []
        return " or ".join([*parts, *([f"{self.absolute:g}"] if self.absolute else [])])


@dataclass(frozen=True)
class Reference:
    """What the paper has for a quantity.

    Attributes:
        low: Lower end: of its own interval, of a bracket, or the value itself.
        high: Upper end.
        text: As a reader is told.
        exact: Whether no margin is put around it, as of a sign.
        source: The panel of :func:`grokfast.paper.paper_curve` it was read from, or where else it stands.
    """

    low: float
    high: float
    text: str
    exact: bool = False
    source: str = ""


@cache
def margins() -> Mapping[str, Margin]:
    """The margins by kind, from ``margins.toml``."""
    content = tomllib.loads(resources.files(__package__).joinpath("margins.toml").read_text())
    return {
        kind: Margin(kind, meaning=values["for"], **{name: value for name, value in values.items() if name != "for"})
        for kind, values in content.items()
    }


def find_margin(kind: str) -> Margin:
    """The margin of a kind of quantity.

    Raises:
        InputError: If there is none.
    """
    if kind not in margins():
        known = list(margins())
        raise InputError(f"kind of a quantity must be one of {known}, got {kind!r}{nearest(kind, known)}")
    return margins()[kind]


def region(reference: Reference, margin: Margin, grid: Sequence[float] = ()) -> tuple[float, float]:
    """The margin around the paper's value: its lower and its upper end.

    On a grid, a value x stands for the bracket from the next smaller point (not included) to x. The region reaches from
    the first to the last point whose bracket meets the paper's, and ``margin.steps`` points further on both sides.

    Args:
        reference: What the paper has.
        margin: How far a value may lie from it.
        grid: Rising values of w0, for margins in steps.

    Returns:
        Both ends, infinite where there is none.

    Raises:
        InputError: If the margin is in steps and there is no grid.
    """
    if reference.exact:
        return reference.low, reference.high
    if margin.steps:
        return _on_grid(reference, margin.steps, grid)
    below, above = (max(margin.absolute, margin.relative * abs(end)) for end in (reference.low, reference.high))
    return reference.low - below, reference.high + above


def judge(
    estimate: Estimate | None, reference: Reference | None, margin: Margin, grid: Sequence[float] = ()
) -> Verdict:
    """The verdict on a measured value.

    Args:
        estimate: With its interval; None where it could not be measured.
        reference: What the paper has, if anything.
        margin: How far from that it may lie.
        grid: As in :func:`region`.
    """
    if reference is None:
        return Verdict.NONE
    if estimate is None or estimate.count < 2 or math.isnan(estimate.low) or math.isnan(estimate.high):
        return Verdict.OPEN
    low, high = region(reference, margin, grid)
    if reference.exact:  # a bound is not reached by standing on it
        low, high = np.nextafter(low, np.inf), np.nextafter(high, -np.inf)
    if low <= estimate.low and estimate.high <= high:
        # At the first point of a grid, or beyond its last, a value has no bracket: it may lie anywhere out there.
        bare = margin.steps and not reference.exact and not min(grid) < estimate.low <= estimate.high <= max(grid)
        return Verdict.OPEN if bare else Verdict.AGREES
    return Verdict.DIFFERS if estimate.high < low or estimate.low > high else Verdict.OPEN


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim of several parts: it differs where one does, and agrees where all do."""
    found = [verdict for verdict in verdicts if verdict is not Verdict.NONE]
    if not found:
        return Verdict.NONE
    if Verdict.DIFFERS in found:
        return Verdict.DIFFERS
    return Verdict.OPEN if Verdict.OPEN in found else Verdict.AGREES


def _on_grid(reference: Reference, steps: int, grid: Sequence[float]) -> tuple[float, float]:
    points = sorted(grid)
    if not points:
        raise InputError("a margin in grid steps needs the grid of w0, got none")
    befores = [-math.inf, *points[:-1]]
    # A paper's bracket (low, high], or one value x, which lies in the bracket that ends at or after it.
    bracket = reference.low < reference.high
    meets = [
        k
        for k, (before, point) in enumerate(zip(befores, points, strict=True))
        if (point > reference.low and before < reference.high if bracket else before < reference.low <= point)
    ]
    if not meets:
        return math.inf, math.inf  # beyond the grid: nothing on it is near
    first, last = meets[0] - steps, meets[-1] + steps
    return (points[first] if first >= 0 else -math.inf), (points[last] if last < len(points) else math.inf)

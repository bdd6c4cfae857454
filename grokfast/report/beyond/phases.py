"""Question 7: which regimes are there over w0, weight decay and batch size?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np

from grokfast.figures.regimes import Cell, Place, Regime, cells_of
from grokfast.measures import Estimate
from grokfast.report.beyond.experiment import Outcome, Quantity, RunsByStudy, experiment


@experiment(
    7,
    "Which regimes are there over w0, weight decay and batch size?",
    studies=("beyond-phases",),
    optional=("beyond-phases-refined",),
    figure="beyond_phases",
    page="7-phases.md",
)
def phases(runs: RunsByStudy) -> Outcome:
    """The map, and whether the compressive regime is bounded in weight decay on both sides."""
    every = (*runs["beyond-phases"], *runs.get("beyond-phases-refined", ()))
    cells = cells_of(list({run.key: run for run in every}.values()))
    quantities = [
        Quantity(
            f"cells that are {regime.value}, of {len(cells)}",
            Estimate(sum(cell.regime is regime for cell in cells.values()), np.nan, np.nan, 1),
            ", ".join(_spoken(cell) for cell in cells.values() if cell.regime is regime),
            "g",
        )
        for regime in Regime
    ]
    split = sum(len(cell.votes) > 1 for cell in cells.values())
    quantities.append(Quantity("cells whose seeds differ", Estimate(split, np.nan, np.nan, 1), spec="g"))
    compressive = [place for place, cell in cells.items() if cell.regime is Regime.COMPRESSIVE]
    least = min(place[0] for place in cells)
    bounded = [place for place in compressive if place[0] == least and _is_bounded(place, cells)]
    answer = "there is no compressive regime" if not compressive else "yes" if bounded else "no"
    return Outcome(f"bounded in weight decay on both sides: {answer}", tuple(quantities))


def refined(cells: Mapping[Place, Cell]) -> list[Place]:
    """Places half way, on a logarithmic axis, between neighbouring cells whose regimes differ.

    Weight decay 0 has no neighbour on such an axis: between it and the next the half of the next is taken. Batch sizes
    are rounded.

    Args:
        cells: The cells that there are.

    Returns:
        New places, rising.
    """
    found = {place for one, other, axis in _neighbours(cells) for place in [_between(one, other, axis)]}
    return sorted(found - set(cells))


def _neighbours(cells: Mapping[Place, Cell]) -> Iterator[tuple[Place, Place, int]]:
    """Pairs of cells next to each other along one axis whose regimes differ."""
    for axis in range(4):
        lines: dict[tuple[float, ...], list[Place]] = {}
        for place in cells:
            lines.setdefault(place[:axis] + place[axis + 1 :], []).append(place)
        for line in lines.values():
            ordered = sorted(line, key=lambda place: place[axis])
            for one, other in itertools.pairwise(ordered):
                if cells[one].regime is not cells[other].regime:
                    yield one, other, axis


def _between(one: Place, other: Place, axis: int) -> Place:
    low, high = one[axis], other[axis]
    middle = math.sqrt(low * high) if low > 0 else high / 2
    values = list(one)
    values[axis] = round(middle) if axis == 2 else float(f"{middle:.3g}")
    return values[0], values[1], int(values[2]), values[3]


def _is_bounded(place: Place, cells: Mapping[Place, Cell]) -> bool:
    line = {at[1]: cell for at, cell in cells.items() if (at[0], at[2:]) == (place[0], place[2:])}
    other = [decay for decay, cell in line.items() if cell.regime is not Regime.COMPRESSIVE]
    return any(decay < place[1] for decay in other) and any(decay > place[1] for decay in other)


def _spoken(cell: Cell) -> str:
    return "(" + ", ".join(f"{value:g}" for value in cell.place) + ")"

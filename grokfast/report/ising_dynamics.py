"""Claims D1 and D2 on the Ising task: what happens in the plateau of grokking, and to compressibility after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grokfast.errors import InputError
from grokfast.figures.dynamics import last_hidden, plateau_of
from grokfast.measures import linear_fit, mean_interval
from grokfast.report.dynamics import inside, overshoot_rows
from grokfast.report.ledger import Row, verdict
from grokfast.runs import Run

FLAT = 0.05
"""A plateau is flat if r changes by less than this a decade of epochs."""


def dynamics_rows(groups: dict[float, list[Run]]) -> list[Row]:
    """Flatness of the features in the plateau, the shrinking norm, and the overshoot of compressibility.

    The plateau is that of :func:`grokfast.measures.plateau`.

    Args:
        groups: Runs by w0, rising.
    """
    grokking = [run for members in groups.values() for run in members if run.summary["groks"]]
    if not grokking:
        return [Row("D1", "features in the plateau", "flat", "no run groks", "-")]
    bounds = {run.key: plateau_of(run) for run in grokking}
    rows = []
    for quantity, symbol in (("energy", "E"), ("abs_magnetization", "|M|")):
        rows += _flatness(grokking, bounds, f"{last_hidden(grokking[0])}_weighted_{quantity}", symbol)
    rows += _shrinking(grokking, bounds)
    return [*rows, *overshoot_rows(groups, {"learning": "-", "grokking": "slightly above"})]


def _flatness(runs: Sequence[Run], bounds: dict[str, tuple[int, int]], column: str, symbol: str) -> list[Row]:
    slopes, changes, after = [], [], []
    for run in runs:
        epochs, values = inside(run, column, bounds[run.key])
        if epochs.size >= 3:
            slopes.append(linear_fit(np.log10(epochs), values).slope.mean)
            changes.append(values[-1] - values[0])
            after.append(run.seen(column)[1][-1] - values[-1])
    what = f"weighted mean |r({symbol})| of the last hidden layer in the plateau"
    if not slopes:
        return [Row("D1", what, "flat", "fewer than three looks in any plateau", "-")]
    slope = mean_interval(slopes)
    ends = (slope.mean, slope.mean) if slope.count < 2 else (slope.low, slope.high)
    return [
        Row(
            "D1",
            what,
            "flat",
            f"slope {slope:.3f} a decade of epochs; change over it {mean_interval(changes):.3f}, from its end to the "
            f"last epoch {mean_interval(after):.3f}; {len(slopes)} runs that grok",
            verdict(ends[0] > -FLAT and ends[1] < FLAT),
        )
    ]


def _shrinking(runs: Sequence[Run], bounds: dict[str, tuple[int, int]]) -> list[Row]:
    ratios = []
    for run in runs:
        try:
            epochs, norms = inside(run, "weight_norm", bounds[run.key])
        except InputError:  # trained before norms were kept along the way
            continue
        if epochs.size >= 2:
            ratios.append(norms[0] / norms[-1])
    if not ratios:
        return []
    shrunk = mean_interval(ratios)
    measured = f"shrinks {shrunk:.2f}-fold from its first to its last look; {len(ratios)} runs that grok"
    return [Row("D1", "norm of all parameters in the plateau", "-", measured, "-")]

"""Claims D1 and D2 on the Ising task: what happens in the plateau of grokking, and to compressibility after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grokfast.errors import InputError
from grokfast.figures.fig03 import last_hidden
from grokfast.measures import linear_fit, mean_interval, plateau
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
    bounds = {run.key: _plateau(run) for run in grokking}
    rows = []
    for quantity, symbol in (("energy", "E"), ("abs_magnetization", "|M|")):
        rows += _flatness(grokking, bounds, f"{last_hidden(grokking[0])}_weighted_{quantity}", symbol)
    rows += _shrinking(grokking, bounds)
    return [*rows, *_overshoot(groups)]


def _plateau(run: Run) -> tuple[int, int]:
    tested, accuracy = run.seen("test_accuracy")
    return plateau(run.seen("train_accuracy")[1], accuracy, test_epochs=tested)


def _inside(run: Run, column: str, bounds: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    epochs, values = run.seen(column)
    chosen = (epochs >= bounds[0]) & (epochs <= bounds[1])
    return epochs[chosen].astype(np.float64), values[chosen]


def _flatness(runs: Sequence[Run], bounds: dict[str, tuple[int, int]], column: str, symbol: str) -> list[Row]:
    slopes, changes, after = [], [], []
    for run in runs:
        epochs, values = _inside(run, column, bounds[run.key])
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
            epochs, norms = _inside(run, "weight_norm", bounds[run.key])
        except InputError:  # trained before norms were kept along the way
            continue
        if epochs.size >= 2:
            ratios.append(norms[0] / norms[-1])
    if not ratios:
        return []
    shrunk = mean_interval(ratios)
    measured = f"shrinks {shrunk:.2f}-fold from its first to its last look; {len(ratios)} runs that grok"
    return [Row("D1", "norm of all parameters in the plateau", "-", measured, "-")]


def _overshoot(groups: dict[float, list[Run]]) -> list[Row]:
    rows = []
    for name, w0, paper in (("learning", min(groups), "-"), ("grokking", max(groups), "slightly above")):
        excess, peaks = [], []
        for run in groups[w0]:
            epochs, c = run.seen("compressibility")
            t_test = run.summary["t_test"]
            soon = (epochs >= t_test) & (epochs <= 2 * t_test) & (epochs < epochs[-1])
            if soon.any():
                excess.append(c[soon].mean() / c[-1] - 1)
                peaks.append(c[epochs >= run.summary["t_train"]].max() / c[-1] - 1)
        what = f"c right after t_test (to twice it) against the end, {name}"
        if not excess:
            rows.append(Row("D2", what, paper, "no look there", "-"))
            continue
        found = mean_interval(excess)
        above = found.mean > 0 if found.count < 2 else found.low > 0
        rows.append(
            Row(
                "D2",
                what,
                paper,
                f"{found:+.1%}; its highest look after t_train {mean_interval(peaks):+.1%} (never below 0)",
                verdict(above) if name == "grokking" else "-",
            )
        )
    return rows

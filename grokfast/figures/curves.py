"""Curves over epochs as figures draw them: read column by column, thinned where there are more points than pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from grokfast.figures.choose import task_of
from grokfast.figures.kept import described
from grokfast.figures.style import band
from grokfast.runs import Run

POINTS = 1200
"""Points of a curve, at most."""


def stacked_curve(runs: Sequence[Run], column: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """One column of all runs at the epochs where all of them have it.

    Args:
        runs: Runs of one setting.
        column: A column of their histories.

    Returns:
        Epochs ``[n]``, rising, and values ``[runs, n]``. Of more than :data:`POINTS` epochs some are left out, so
        that the others are about equally spaced on a logarithmic axis.

    Raises:
        InputError: If a run has no such column.
    """
    seen = [run.seen(column) for run in runs]
    common = seen[0][0]
    for epochs, _ in seen[1:]:
        common = np.intersect1d(common, epochs)
    if common.size > POINTS:
        wanted = np.geomspace(common[0], common[-1], POINTS)
        common = common[np.unique(np.searchsorted(common, wanted - 1e-9).clip(max=common.size - 1))]
    return common, np.stack([values[np.searchsorted(epochs, common)] for epochs, values in seen])


def curve(axes: Axes, runs: Sequence[Run], column: str, **line: object) -> None:
    """Mean of one column over runs, with its band; of a loss, which is drawn on a logarithmic axis, geometric."""
    epochs, values = stacked_curve(runs, column)
    band(axes, epochs, values, geometric=column.endswith("_loss"), **line)


def loss_label(runs: Sequence[Run]) -> str:
    """What the loss of the runs' task is called, with its unit where that is known."""
    if task_of(runs[0]) in ("modular-addition", "ising"):
        return "cross entropy [nats]"
    column = described(runs[0]).get("test_loss")
    unit = column.unit if column is not None else ""
    return f"loss [{unit}]" if unit else "loss"

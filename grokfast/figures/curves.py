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
from grokfast.tasks import TASKS, Loss

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


_CALLED = {
    Loss.CROSS_ENTROPY: "cross entropy",
    Loss.MEAN_SQUARED_ERROR: "squared error",
    Loss.STABLEMAX: "stablemax loss",
    Loss.HINGE: "hinge loss",
}


def loss_of(run: Run) -> Loss | None:
    """What its network was trained to lower; None where that is a function of the user's own."""
    task = run.record["config"]["task"]
    kind = TASKS.get(task["name"])
    found = task.get("loss", getattr(kind, "loss", None))
    if isinstance(found, str):
        return Loss(found) if found in list(Loss) else None
    # The package's own tasks that say nothing have always had this one; of another it is known where the class is.
    return None if found is not None or kind is None else Loss.CROSS_ENTROPY


def loss_unit(run: Run) -> str:
    """The unit of its losses, ``nat`` or none."""
    loss = loss_of(run)
    if loss is not None:
        return loss.unit
    column = described(run).get("test_loss")
    is_own = task_of(run) in TASKS  # with a loss that is a function: records once called every loss one in nats
    return "" if is_own or column is None else column.unit


def loss_label(runs: Sequence[Run], split: str = "", *, short: bool = False) -> str:
    """What the loss of the runs' task is called, with its unit where it has one: ``test cross entropy [nats]``.

    Args:
        runs: Of one setting.
        split: Whose loss; no word of it if empty.
        short: Whether it is called ``loss``, where there is little room.
    """
    loss = loss_of(runs[0])
    words = f"{split} {'loss' if short or loss is None else _CALLED[loss]}".strip()
    return f"{words} [nats]" if loss_unit(runs[0]) else words

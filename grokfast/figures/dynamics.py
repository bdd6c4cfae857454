"""Features, compressibility, accuracy and loss along the training of both regimes: what figures 6 and 7 share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.curves import curve
from grokfast.figures.registry import by_scale, regime
from grokfast.figures.style import GROKKING, LEARNING, NEUTRAL, new_figure
from grokfast.measures import plateau
from grokfast.runs import Run


def mark_times(axes: Axes, members: Sequence[Run], label: bool = False) -> None:
    """Vertical lines at the medians over seeds of t_train, the end of the plateau and t_test."""
    found: dict[str, list[float]] = {"$t_{train}$": [], "plateau ends": [], "$t_{test}$": []}
    for run in members:
        if run.summary.get("t_train") is None:
            continue
        train, (tested, test) = run.seen("train_accuracy")[1], run.seen("test_accuracy")
        ends = (run.summary["t_train"], plateau(train, test, test_epochs=tested)[1], run.summary["t_test"])
        for values, end in zip(found.values(), ends, strict=True):
            values.append(end)
    for (name, values), dashes in zip(found.items(), (":", "-.", "--"), strict=True):
        if values:
            text = f"{name}: {np.median(values):.0f}" if label else None
            axes.axvline(float(np.median(values)), color=NEUTRAL, linestyle=dashes, linewidth=0.9, label=text)


def draw_dynamics(runs: Sequence[Run], features: Mapping[str, tuple[str, str]], ylabel: str) -> Figure:
    """Columns: smallest and largest w0; rows: features, compressibility, accuracy and loss.

    Args:
        runs: Runs of one setting.
        features: Column of the history, with its colour, by label.
        ylabel: Of the row of features.
    """
    groups = by_scale(runs)
    figure = new_figure(4, 2, width=8.4, height=8.4, sharex=True, sharey="row")
    grid = np.array(figure.axes).reshape(4, 2)
    for column, w0, color in zip(grid.T, (min(groups), max(groups)), (LEARNING, GROKKING), strict=True):
        members = groups[w0]
        feature, pruning, accuracy, loss = column
        for label, (name, shade) in features.items():
            curve(feature, members, name, color=shade, label=label, marker=".", markersize=3)
        curve(pruning, members, "compressibility", color=color, marker=".", markersize=3)
        for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
            for split, dashes in (("train", "--"), ("test", "-")):
                curve(axes, members, f"{split}_{metric}", color=color, linestyle=dashes, label=split)
        for axes in column:
            mark_times(axes, members, label=axes is pruning)
        feature.set_title(f"$w_0$ = {w0:g}: {regime(members)} ({len(members)} seed{'s' if len(members) > 1 else ''})")
        loss.set(xlabel="epoch", yscale="log", xscale="log")
        feature.legend(fontsize=7)
        pruning.legend(fontsize=7)
        accuracy.legend(fontsize=7)
    for axes, name in zip(
        grid[:, 0], (ylabel, "compressibility $c$", "accuracy", "cross entropy [nats],\ngeometric mean"), strict=True
    ):
        axes.set_ylabel(name)
    return figure

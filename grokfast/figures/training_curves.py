"""Accuracy and loss against epoch, one colour per w0: figures 2a and 2b, and the same of any task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokfast.figures.choose import by_scale, title_of
from grokfast.figures.curves import curve, loss_label
from grokfast.figures.kept import values_of
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import NEUTRAL, headline, new_figure, note, over_seeds, scale_colors, scale_legend
from grokfast.runs import Run


def draw_training(runs: Sequence[Run], floor: float = -0.02) -> Figure:
    """Train dashed, test solid, mean and range over seeds; of a loss the geometric mean.

    Args:
        runs: Runs of one setting.
        floor: Lower end of the accuracy axis.
    """
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    figure = new_figure(2, 1, height=5.2, sharex=True)
    accuracy, loss = figure.axes
    has_accuracy = bool(np.isfinite(values_of(runs, "end_test_accuracy")).all())
    for w0, members in groups.items():
        for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
            for split, dashes in (("train", "--"), ("test", "-")):
                if axes is accuracy and not has_accuracy:
                    continue
                label = f"{w0:g}" if (axes is accuracy or not has_accuracy) and split == "test" else None
                curve(axes, members, f"{split}_{metric}", color=colors[w0], linestyle=dashes, label=label)
    accuracy.set(ylabel="accuracy", xscale="log", ylim=(floor, 1.04))
    loss.set(ylabel=f"{loss_label(runs)},\ngeometric mean", xlabel="epoch", xscale="log", yscale="log")
    scale_legend(figure, colors)
    if not has_accuracy:
        note(accuracy, "this task has no accuracy")
    styles = [Line2D([], [], color=NEUTRAL, linestyle=dashes) for dashes in ("--", "-")]
    loss.legend(styles, ["train (running)", "test"])
    seeds = max(len(members) for members in groups.values())
    headline(figure, f"{title_of(runs)}: {over_seeds(seeds)}")
    return figure


def _draw_ising(runs: Sequence[Run]) -> Figure:
    return draw_training(runs, 0.4)


_NEEDED = ("end_train_loss", "end_test_loss")

register_figure(
    FigureSpec("training", "accuracy and loss of any task against epoch, by w0", draw_training, columns=_NEEDED)
)
register_figure(
    FigureSpec("fig02a", "accuracy and loss of the Ising task against epoch, by w0", _draw_ising, "ising", _NEEDED)
)
register_figure(
    FigureSpec("fig02b", "accuracy and loss of modular addition by w0", draw_training, "main-text", _NEEDED)
)

"""Accuracy and loss against epoch, one colour per w0: what figures 2a and 2b share."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokfast.figures.curves import curve
from grokfast.figures.registry import by_scale
from grokfast.figures.style import NEUTRAL, new_figure, scale_colors
from grokfast.runs import Run


def draw_training(runs: Sequence[Run], title: str, floor: float) -> Figure:
    """Train dashed, test solid, mean and standard deviation over seeds.

    Args:
        runs: Runs of one setting.
        title: The task's name.
        floor: Lower end of the accuracy axis.
    """
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    figure = new_figure(2, 1, height=5.2, sharex=True)
    accuracy, loss = figure.axes
    for w0, members in groups.items():
        for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
            for split, dashes in (("train", "--"), ("test", "-")):
                label = f"{w0:g}" if metric == "accuracy" and split == "test" else None
                curve(axes, members, f"{split}_{metric}", color=colors[w0], linestyle=dashes, label=label)
    accuracy.set(ylabel="accuracy", xscale="log", ylim=(floor, 1.04))
    loss.set(ylabel="cross entropy [nats],\ngeometric mean", xlabel="epoch", yscale="log")
    first = accuracy.legend(title="$w_0$", loc="upper left", ncols=2)
    accuracy.add_artist(first)
    styles = [Line2D([], [], color=NEUTRAL, linestyle=dashes) for dashes in ("--", "-")]
    loss.legend(styles, ["train (running)", "test"], loc="lower left")
    seeds = max(len(members) for members in groups.values())
    figure.suptitle(f"{title}: mean and standard deviation over {seeds} seed{'s' if seeds > 1 else ''}")
    return figure

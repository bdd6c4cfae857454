"""Figure 10: learning times, end accuracies and end losses of every seed of modular addition, by w0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.registry import MAIN_COMMAND, MAIN_TEXT, FigureSpec, by_scale
from grokfast.figures.style import GROKKING, LEARNING, NEUTRAL, new_figure
from grokfast.runs import Run, RunTable


def _scatter(axes: Axes, groups: dict[float, list[Run]], name: str, color: str, marker: str, label: str) -> None:
    """Every seed as a point, the mean as a line."""
    means = []
    for w0, members in groups.items():
        values = [run.summary[name] for run in members]
        axes.scatter([w0] * len(values), values, color=color, marker=marker, s=14, alpha=0.6, linewidth=0)
        means.append(np.mean(values))
    axes.plot(list(groups), means, color=color, label=label)


def draw_by_seed(runs: Sequence[Run]) -> Figure:
    """Learning times, end accuracies and end losses, every seed a point."""
    groups = by_scale(runs)
    figure = new_figure(1, 3, width=10, height=3.2)
    times, accuracy, loss = figure.axes
    for name, color, marker, label in (
        ("t_train", LEARNING, "o", "$t_{train}$"),
        ("t_test", GROKKING, "s", "$t_{test}$"),
        ("t_grok", NEUTRAL, "^", "$t_{grok}$"),
    ):
        _scatter(times, groups, name, color, marker, label)
    for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
        _scatter(axes, groups, f"end_train_{metric}", LEARNING, "o", "train")
        _scatter(axes, groups, f"end_test_{metric}", GROKKING, "s", "test")
    times.set(ylabel="epochs", title="learning times")
    accuracy.set(ylabel="accuracy", title="at the last epoch", ylim=(min(0.9, *accuracy.get_ylim()), 1.005))
    loss.set(ylabel="cross entropy [nats]", yscale="log", title="at the last epoch")
    for axes in figure.axes:
        axes.set(xscale="log", xlabel="$w_0$")
        axes.legend()
    return figure


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return draw_by_seed(runs)


SPEC = FigureSpec(
    name="fig10",
    title="learning times, end accuracies and end losses of every seed, by w0",
    condition=MAIN_TEXT + " AND t_train IS NOT NULL",
    command=MAIN_COMMAND,
    draw=_draw,
)

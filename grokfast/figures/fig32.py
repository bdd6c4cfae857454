"""Figure 32: step length in the Fisher metric, whole and split into stiff and sloppy parameters."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.geometry import (
    COMMAND,
    SPLIT,
    column,
    draw_curves,
    mark_learning,
    metric_title,
    panels,
    sides,
    task_title,
    title,
)
from grokfast.figures.registry import FigureSpec
from grokfast.figures.style import new_figure
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    columns = panels(runs)
    figure = new_figure(2, len(columns), width=3.6 * len(columns) + 0.6, height=5.6)
    for k, (task, mine, metric) in enumerate(columns):
        whole, split = figure.axes[k], figure.axes[len(columns) + k]
        for side in sides(mine):
            draw_curves(whole, side, column(metric, "length"), side.label, geometric=True)
            draw_curves(split, side, column(metric, "stiff_length"), f"{side.name}: stiff", geometric=True)
            draw_curves(
                split, side, column(metric, "sloppy_length"), f"{side.name}: sloppy", geometric=True, linestyle="--"
            )
            for axes in (whole, split):
                mark_learning(axes, side)
        whole.set(yscale="log", xlabel="epoch", title=f"{task_title(task)}\n{metric_title(metric)}")
        split.set(yscale="log", xlabel="epoch")
        whole.legend()
        split.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=7)
    figure.axes[0].set_ylabel("$|s|$, all parameters")
    figure.axes[len(columns)].set_ylabel("$|s|$, stiff and sloppy")
    title(
        figure,
        "Step length in the Fisher metric (dotted: $t_{test}$)",
        runs,
        shown="geometric mean and standard deviation",
    )
    return figure


SPEC = FigureSpec(
    name="fig32",
    title="step length in the Fisher metric, whole and split into stiff and sloppy",
    condition=SPLIT,
    command=COMMAND,
    draw=_draw,
    apart="task",
)

"""Figure 34: cosines of consecutive steps on stiff and on sloppy parameters."""

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
    zero_line,
)
from grokfast.figures.registry import FigureSpec
from grokfast.figures.style import new_figure
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    columns = panels(runs)
    rows = max(len(sides(mine)) for _, mine, _ in columns)
    figure = new_figure(rows, len(columns), width=3.6 * len(columns) + 0.6, height=2.7 * rows + 0.6, sharey=True)
    for k, (task, mine, metric) in enumerate(columns):
        for row, side in enumerate(sides(mine)):
            axes = figure.axes[row * len(columns) + k]
            draw_curves(axes, side, column(metric, "stiff_cosine"), "stiff")
            draw_curves(axes, side, column(metric, "sloppy_cosine"), "sloppy", linestyle="--", alpha=0.8)
            mark_learning(axes, side)
            zero_line(axes)
            head = f"{task_title(task)}, {metric_title(metric)}\n" if row == 0 else ""
            axes.set(ylim=(-1.05, 1.05), xlabel="epoch")
            axes.set_title(f"{head}{side.label}", fontsize=8)
            axes.legend(loc="lower right")
        for row in range(len(sides(mine)), rows):
            figure.axes[row * len(columns) + k].set_axis_off()
    for row in range(rows):
        figure.axes[row * len(columns)].set_ylabel("cosine of consecutive steps")
    title(figure, "Stiff and sloppy parameters (dotted: $t_{test}$)", runs)
    return figure


SPEC = FigureSpec(
    name="fig34",
    title="cosines of consecutive steps on stiff and on sloppy parameters",
    condition=SPLIT,
    command=COMMAND,
    draw=_draw,
    apart="task",
)

"""Figure 8: Fisher cosines against epoch, of consecutive steps and with the way to the origin."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.geometry import (
    COMMAND,
    MEASURED,
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
    figure = new_figure(2, len(columns), width=3.6 * len(columns) + 0.6, height=5.4, sharey=True)
    for k, (task, mine, metric) in enumerate(columns):
        for row, what in enumerate(("cosine", "origin")):
            axes = figure.axes[row * len(columns) + k]
            for side in sides(mine):
                draw_curves(axes, side, column(metric, what), side.label)
                draw_curves(axes, side, f"geometry_euclidean_{what}", linestyle="--", linewidth=0.7, alpha=0.7)
                mark_learning(axes, side)
            zero_line(axes)
            axes.set(ylim=(-1.05, 1.05), xlabel="epoch")
            if row == 0:
                axes.set_title(f"{task_title(task)}\n{metric_title(metric)}")
        figure.axes[k].legend(loc="lower right")
    figure.axes[0].set_ylabel("cosine of consecutive steps")
    figure.axes[len(columns)].set_ylabel("cosine with the way to the origin")
    title(figure, "Cosines in the Fisher metric (dashed: Euclidean; dotted: $t_{test}$)", runs)
    return figure


SPEC = FigureSpec(
    name="fig08",
    title="cosines of consecutive steps and with the way to the origin, in the Fisher metric",
    condition=MEASURED,
    command=COMMAND,
    draw=_draw,
    apart="task",
)

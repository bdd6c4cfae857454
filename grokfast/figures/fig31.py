"""Figure 31: step length against epoch, in the Fisher metric and Euclidean."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.choose import title_of
from grokfast.figures.geometry import (
    STUDIES,
    by_task,
    column,
    draw_curves,
    mark_learning,
    metric_title,
    shown_metrics,
    side_legend,
    sides,
    title,
)
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import new_figure
from grokfast.runs import Run


def _draw(runs: Sequence[Run]) -> Figure:
    tasks = by_task(runs)
    columns = 1 + max(len(shown_metrics(mine)) for mine in tasks.values())
    figure = new_figure(len(tasks), columns, width=3.6 * columns, height=2.4 * len(tasks) + 0.6)
    for row, mine in enumerate(tasks.values()):
        metrics = [*shown_metrics(mine), "euclidean"]
        for k in range(columns):
            axes = figure.axes[row * columns + k]
            if k >= len(metrics):
                axes.set_axis_off()
                continue
            for side in sides(mine):
                draw_curves(axes, side, column(metrics[k], "length"), side.label, geometric=True)
                mark_learning(axes, side)
            name = "Euclidean" if metrics[k] == "euclidean" else metric_title(metrics[k])
            axes.set(yscale="log", xlabel="epoch", title=f"{title_of(mine)}\n{name}")
        figure.axes[row * columns].set_ylabel("step length $|s|$")
    side_legend(figure, runs, {"$t_{test}$": ":"})
    title(figure, "Step length", runs, "geometric mean")
    return figure


register_figure(
    FigureSpec(
        "fig31",
        "step length in the Fisher metric and Euclidean (the paper: Ising)",
        _draw,
        STUDIES,
        curves=("geometry_*_length",),
        apart="task",
    )
)

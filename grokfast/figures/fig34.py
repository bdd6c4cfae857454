"""Figure 34: cosines of consecutive steps on stiff and on sloppy parameters."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.choose import title_of
from grokfast.figures.geometry import (
    PAPERS_METRIC,
    STUDIES,
    column,
    draw_curves,
    mark_learning,
    metric_title,
    panel_label,
    panels,
    side_legend,
    sides,
    title,
    zero_line,
)
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import new_figure
from grokfast.runs import Run


def _draw(runs: Sequence[Run]) -> Figure:
    columns = panels(runs)
    rows = max(len(sides(mine)) for mine, _ in columns)
    figure = new_figure(rows, len(columns), width=3.6 * len(columns), height=2.3 * rows + 0.6, sharey=True)
    for k, (mine, metric) in enumerate(columns):
        for row, side in enumerate(sides(mine)):
            axes = figure.axes[row * len(columns) + k]
            axes.set_label(panel_label(mine, metric, side.name))
            draw_curves(axes, side, column(metric, "stiff_cosine"), "stiff")
            draw_curves(axes, side, column(metric, "sloppy_cosine"), "sloppy", linestyle="--", alpha=0.8)
            mark_learning(axes, side)
            zero_line(axes)
            head = f"{title_of(mine)}\n{metric_title(metric)}\n" if row == 0 else ""
            axes.set(ylim=(-1.05, 1.05), xlabel="epoch")
            axes.set_title(f"{head}{side.label}", fontsize="small")
        for row in range(len(sides(mine)), rows):
            figure.axes[row * len(columns) + k].set_axis_off()
    for row in range(rows):
        figure.axes[row * len(columns)].set_ylabel("cosine of\nconsecutive steps")
    side_legend(figure, runs, {"stiff": "-", "sloppy": "--", "$t_{test}$": ":"})
    title(figure, "Stiff and sloppy parameters", runs)
    return figure


register_figure(
    FigureSpec(
        "fig34",
        "cosines of consecutive steps on stiff and on sloppy parameters",
        _draw,
        STUDIES,
        curves=("geometry_*_stiff_cosine", "geometry_*_sloppy_cosine"),
        apart="task",
        paper={
            f"{task} {PAPERS_METRIC} {side}": (Digitised(panel, (f"{side} stiff", f"{side} sloppy")),)
            for task, panel in (("ising", "fig34a"), ("modular-addition", "fig34b"))
            for side in ("learning", "grokking")
        },
    )
)

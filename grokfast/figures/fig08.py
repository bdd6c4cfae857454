"""Figure 8: Fisher cosines against epoch, of consecutive steps and with the way to the origin."""

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
    figure = new_figure(2, len(columns), width=3.6 * len(columns), height=4.6, sharey=True)
    for k, (mine, metric) in enumerate(columns):
        for row, what in enumerate(("cosine", "origin")):
            axes = figure.axes[row * len(columns) + k]
            for side in sides(mine):
                draw_curves(axes, side, column(metric, what), side.label)
                draw_curves(axes, side, f"geometry_euclidean_{what}", linestyle="--", linewidth=0.7, alpha=0.7)
                mark_learning(axes, side)
            zero_line(axes)
            axes.set_label(panel_label(mine, metric, what))
            axes.set(ylim=(-1.05, 1.05), xlabel="epoch")
            if row == 0:
                axes.set_title(f"{title_of(mine)}\n{metric_title(metric)}")
    figure.axes[0].set_ylabel("cosine of\nconsecutive steps")
    figure.axes[len(columns)].set_ylabel("cosine with\nthe way to the origin")
    side_legend(figure, runs, {"Fisher metric": "-", "Euclidean": "--", "$t_{test}$": ":"})
    title(figure, "Cosines of steps", runs)
    return figure


register_figure(
    FigureSpec(
        "fig08",
        "cosines of consecutive steps and with the way to the origin, in the Fisher metric",
        _draw,
        STUDIES,
        curves=("geometry_*_cosine", "geometry_*_origin"),
        apart="task",
        paper={
            f"ising {PAPERS_METRIC} cosine": (Digitised("fig08a"),),
            f"modular-addition {PAPERS_METRIC} cosine": (Digitised("fig08b"),),
            f"ising {PAPERS_METRIC} origin": (Digitised("fig08c"),),
            f"modular-addition {PAPERS_METRIC} origin": (Digitised("fig08d"),),
        },
    )
)

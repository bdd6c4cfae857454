"""Figure 32: step length in the Fisher metric, whole and split into stiff and sloppy parameters."""

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
)
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import new_figure
from grokfast.runs import Run


def _draw(runs: Sequence[Run]) -> Figure:
    columns = panels(runs)
    figure = new_figure(2, len(columns), width=3.6 * len(columns), height=4.8)
    for k, (mine, metric) in enumerate(columns):
        whole, split = figure.axes[k], figure.axes[len(columns) + k]
        for side in sides(mine):
            draw_curves(whole, side, column(metric, "length"), side.label, geometric=True)
            draw_curves(split, side, column(metric, "stiff_length"), "stiff", geometric=True)
            draw_curves(split, side, column(metric, "sloppy_length"), "sloppy", geometric=True, linestyle="--")
            for axes in (whole, split):
                mark_learning(axes, side)
        whole.set_label(panel_label(mine, metric, "whole"))
        split.set_label(panel_label(mine, metric, "split"))
        whole.set(yscale="log", xlabel="epoch", title=f"{title_of(mine)}\n{metric_title(metric)}")
        split.set(yscale="log", xlabel="epoch")
    figure.axes[0].set_ylabel("$|s|$, all parameters")
    figure.axes[len(columns)].set_ylabel("$|s|$, stiff and sloppy")
    side_legend(figure, runs, {"all, stiff": "-", "sloppy": "--", "$t_{test}$": ":"})
    title(figure, "Step length in the Fisher metric", runs, "geometric mean")
    return figure


register_figure(
    FigureSpec(
        "fig32",
        "step length in the Fisher metric, whole and split into stiff and sloppy",
        _draw,
        STUDIES,
        curves=("geometry_*_length", "geometry_*_stiff_length", "geometry_*_sloppy_length"),
        apart="task",
        paper={
            f"ising {PAPERS_METRIC} whole": (Digitised("fig32a"),),
            f"modular-addition {PAPERS_METRIC} whole": (Digitised("fig32b"),),
            f"modular-addition {PAPERS_METRIC} split": (Digitised("fig32d"),),
        },
    )
)

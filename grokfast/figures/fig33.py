"""Figure 33: discrete gradient of the step length and its zero crossings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.choose import title_of
from grokfast.figures.geometry import (
    PAPERS_METRIC,
    STUDIES,
    Side,
    column,
    metric_title,
    panel_label,
    panels,
    sides,
    title,
    zero_line,
)
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import new_figure
from grokfast.measures import discrete_gradient, largest_bump
from grokfast.runs import Run


def _panel(axes: Axes, side: Side, metric: str) -> None:
    epochs, curves = side.curves(column(metric, "length"))
    axes.set(xlabel="epoch")
    if epochs.size < 3:
        axes.set_title(f"{side.name}: too few looks", fontsize=8)
        return
    mean = curves.mean(0)
    gradient = discrete_gradient(epochs, mean)
    axes.plot(epochs, gradient, color=side.color, marker=".", markersize=3)
    zero_line(axes)
    bump = largest_bump(epochs, mean)
    if bump is None:
        axes.set_title(f"{side.label}: $|s|$ has no bump", fontsize=8)
        return
    start, end = bump
    for crossing in bump:
        axes.axvline(crossing.epoch, color=side.color, linestyle=":", linewidth=0.9)
    axes.set_title(f"{side.label}: zeros at {start.epoch:.0f} and {end.epoch:.0f}", fontsize=8)
    margin = max(0.3 * (end.epoch - start.epoch), 3 * float(np.diff(epochs).min()))
    inside = np.abs(gradient[(epochs >= start.epoch) & (epochs <= end.epoch)])
    size = 1.8 * float(inside.max()) if inside.size else None
    axes.set_xlim(max(start.epoch - margin, epochs[0]), end.epoch + margin)
    if size:
        axes.set_ylim(-size, size)


def _draw(runs: Sequence[Run]) -> Figure:
    columns = panels(runs)
    rows = max(len(sides(mine)) for mine, _ in columns)
    figure = new_figure(rows, len(columns), width=3.6 * len(columns) + 0.6, height=2.7 * rows + 0.6)
    for k, (mine, metric) in enumerate(columns):
        # Grokking first: it is what the paper shows.
        for row, side in enumerate(reversed(sides(mine))):
            axes = figure.axes[row * len(columns) + k]
            axes.set_label(panel_label(mine, metric, side.name))
            _panel(axes, side, metric)
            if row == 0:
                head = f"{title_of(mine)}, {metric_title(metric)}"
                axes.set_title(f"{head}\n{axes.get_title()}", fontsize=8)
        for row in range(len(sides(mine)), rows):
            figure.axes[row * len(columns) + k].set_axis_off()
    for row in range(rows):
        figure.axes[row * len(columns)].set_ylabel("gradient of the mean $|s|$ per epoch")
    title(figure, "Where the step length turns", runs, shown="mean")
    return figure


register_figure(
    FigureSpec(
        "fig33",
        "discrete gradient of the step length, with the zero crossings of its largest bump",
        _draw,
        STUDIES,
        curves=("geometry_*_length",),
        apart="task",
        paper={
            f"{task} {PAPERS_METRIC} {side}": (Digitised(panel, (side,)),)
            for task, panel in (("ising", "fig33a"), ("modular-addition", "fig33b"))
            for side in ("learning", "grokking")
        },
    )
)

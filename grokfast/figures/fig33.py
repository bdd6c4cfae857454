"""Figure 33: discrete gradient of the step length and its zero crossings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.choose import counted, title_of
from grokfast.figures.geometry import (
    PAPERS_METRIC,
    STUDIES,
    Side,
    column,
    metric_title,
    panel_label,
    panels,
    sides,
    zero_line,
)
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import headline, new_figure
from grokfast.measures import discrete_gradient, largest_bump
from grokfast.runs import Run

_FRAME = 2.5  # times the steepest slope in the bump


def _panel(axes: Axes, side: Side, metric: str) -> None:
    epochs, curves = side.curves(column(metric, "length"))
    axes.set(xlabel="epoch")
    if epochs.size < 3:
        axes.set_title(f"{side.name}: too few looks", fontsize="small")
        return
    mean = curves.mean(0)
    gradient = discrete_gradient(epochs, mean)
    axes.plot(epochs, gradient, color=side.color, marker=".", markersize=3)
    zero_line(axes)
    bump = largest_bump(epochs, mean)
    if bump is None:
        axes.set_title(f"{side.label}: $|s|$ has no bump", fontsize="small")
        return
    start, end = bump
    for crossing in bump:
        axes.axvline(crossing.epoch, color=side.color, linestyle=":", linewidth=0.9)
    axes.axvspan(start.epoch, end.epoch, color=side.color, alpha=0.1, linewidth=0)
    axes.set_title(f"{side.label},\nzeros at {start.epoch:.0f} and {end.epoch:.0f}", fontsize="small")
    inside = np.abs(gradient[(epochs >= start.epoch) & (epochs <= end.epoch)])
    if inside.size and inside.max() > 0:
        # The whole path, so that the bump is seen beside the noise; the steep first steps leave the frame.
        axes.set_ylim(-_FRAME * float(inside.max()), _FRAME * float(inside.max()))


def _draw(runs: Sequence[Run]) -> Figure:
    columns = panels(runs)
    rows = max(len(sides(mine)) for mine, _ in columns)
    figure = new_figure(rows, len(columns), width=3.6 * len(columns), height=2.4 * rows + 0.6)
    for k, (mine, metric) in enumerate(columns):
        # Grokking first: it is what the paper shows.
        for row, side in enumerate(reversed(sides(mine))):
            axes = figure.axes[row * len(columns) + k]
            axes.set_label(panel_label(mine, metric, side.name))
            _panel(axes, side, metric)
            if row == 0:
                head = f"{title_of(mine)}\n{metric_title(metric)}"
                axes.set_title(f"{head}\n{axes.get_title()}", fontsize="small")
        for row in range(len(sides(mine)), rows):
            figure.axes[row * len(columns) + k].set_axis_off()
    for row in range(rows):
        figure.axes[row * len(columns)].set_ylabel("gradient of the mean $|s|$ per epoch")
    seeds = max(len(side.runs) for mine, _ in columns for side in sides(mine))
    headline(figure, f"Where the step length turns: gradient of the mean over {counted(seeds)}")
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

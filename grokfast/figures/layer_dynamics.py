"""How one layer of the Ising network finds its features: what figures 28 to 30 share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures.curves import curve
from grokfast.figures.dynamics import mark_times
from grokfast.figures.registry import ISING_DYNAMICS, ISING_TEXT, FigureSpec, by_scale, regime
from grokfast.figures.style import FEATURE_COLORS, new_figure
from grokfast.runs import Run, RunTable

QUANTITIES = {"energy": "E", "magnetization": "M", "abs_magnetization": "|M|"}
"""The features of the Ising task in the history's columns, and their symbols."""

_ROWS = {
    "weighted": "weighted mean |r|\n(eq. 6 times its |L|)",
    "led": "share of neurons\nled by the feature",
    "share": "share of pre-activation\nof those neurons",
}


def layer_spec(name: str, layer: str, title: str) -> FigureSpec:
    """The figure of one layer: columns learning and grokking; rows r̃, led neurons, their pre-activation.

    Args:
        name: Of the figure.
        layer: As in the history's columns.
        title: What the layer is.
    """

    def draw(runs: Sequence[Run], table: RunTable) -> Figure:
        groups = by_scale(runs)
        figure = new_figure(3, 2, width=8.4, height=6.6, sharex=True, sharey="row")
        grid = np.array(figure.axes).reshape(3, 2)
        for column, w0 in zip(grid.T, (min(groups), max(groups)), strict=True):
            members = groups[w0]
            for axes, summary in zip(column, _ROWS, strict=True):
                for (quantity, symbol), color in zip(QUANTITIES.items(), FEATURE_COLORS, strict=True):
                    curve(
                        axes,
                        members,
                        f"{layer}_{summary}_{quantity}",
                        color=color,
                        label=symbol,
                        marker=".",
                        markersize=3,
                    )
                axes.set(xscale="log", ylim=(-0.03, 1.03))
                mark_times(axes, members)
            seeds = f"{len(members)} seed{'s' if len(members) > 1 else ''}"
            column[0].set_title(f"$w_0$ = {w0:g}: {regime(members)} ({seeds})")
            column[-1].set_xlabel("epoch (lines: $t_{train}$, end of plateau, $t_{test}$)")
        for axes, label in zip(grid[:, 0], _ROWS.values(), strict=True):
            axes.set_ylabel(label)
        grid[0, 0].legend()
        figure.suptitle(f"Ising phases, {title}")
        return figure

    return FigureSpec(
        name=name,
        title=f"dynamics of the features of {title}, smallest and largest w0",
        condition=ISING_TEXT + " AND feature_schedule <> 'never'",
        command=ISING_DYNAMICS,
        draw=draw,
        minimum_scales=2,
    )

"""How each layer of the Ising network finds its features: figures 28 to 30."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures.choose import counted, ends, regime
from grokfast.figures.curves import curve
from grokfast.figures.dynamics import QUANTITIES, mark_times
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import FEATURE_COLORS, FEATURE_MARKERS, headline, new_figure
from grokfast.runs import Run

_ROWS = {
    "weighted": "weighted mean |r|\n(eq. 6 times its |L|)",
    "led": "share of neurons\nled by the feature",
    "share": "share of pre-activation\nof those neurons",
}
_LAYERS = {
    "fig28": ("conv1", "convolution 1: every unit"),
    "fig29": ("conv2", "convolution 2: every unit"),
    "fig30": ("hidden", "the hidden layer"),
}


def _layer_figure(name: str, layer: str, title: str) -> FigureSpec:
    """The figure of one layer: columns learning and grokking; rows r̃, led neurons, their pre-activation."""

    def draw(runs: Sequence[Run]) -> Figure:
        figure = new_figure(3, 2, width=7.2, height=5.8, sharex=True, sharey="row")
        grid = np.array(figure.axes).reshape(3, 2)
        for column, (w0, members) in zip(grid.T, ends(runs).items(), strict=True):
            for axes, summary in zip(column, _ROWS, strict=True):
                looks = zip(QUANTITIES.items(), FEATURE_COLORS, FEATURE_MARKERS, strict=True)
                for (quantity, symbol), color, marker in looks:
                    line = {"color": color, "label": symbol, "marker": marker, "markersize": 2.5}
                    curve(axes, members, f"{layer}_{summary}_{quantity}", **line)
                axes.set(xscale="log", ylim=(-0.03, 1.03))
            marked = mark_times(column, members)
            column[0].set_title(f"$w_0$ = {w0:g}: {regime(members)} ({counted(len(members))})")
            column[-1].set_xlabel(
                "epoch" + (f" (lines: {', '.join(name.rpartition(' ')[0] for name in marked)})" if marked else "")
            )
        for axes, label in zip(grid[:, 0], _ROWS.values(), strict=True):
            axes.set_ylabel(label)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center")
        headline(figure, f"Ising phases, {title}")
        return figure

    return FigureSpec(
        name,
        f"dynamics of the features of {title}, smallest and largest w0",
        draw,
        "ising-ends",
        curves=tuple(f"{layer}_{summary}_{quantity}" for summary in _ROWS for quantity in QUANTITIES),
        scales=2,
    )


for _name, (_layer, _title) in _LAYERS.items():
    register_figure(_layer_figure(_name, _layer, _title))

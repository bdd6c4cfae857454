"""Compressibility against superposition and flatness: the figures of questions 2 and 8 of ``docs/beyond.md``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures.choose import by_scale
from grokfast.figures.grouping import values_by
from grokfast.figures.kept import values_of
from grokfast.figures.spec import WHOLE, FigureSpec, register_figure
from grokfast.figures.style import headline, new_figure, scale_colors, scale_legend
from grokfast.runs import Run

_SUPERPOSITION = {
    "frequencies_per_neuron": "frequencies per neuron",
    "feature_interference": "interference (random: 1)",
    "feature_packing": "packing",
    "activation_rank_per_neuron": "activation rank per neuron",
    "gini_weights": "Gini of |w|",
}
_COLUMNS = 3
_FLATNESS = {
    "fisher_trace": "trace, softmax Fisher",
    "fisher_largest": "largest, softmax Fisher",
    "logit_fisher_trace": "trace, logit Fisher",
    "logit_fisher_largest": "largest, logit Fisher",
    "hessian_trace": "trace, Hessian",
    "hessian_largest": "largest, Hessian",
}


def draw_rows(runs: Sequence[Run], panels: Mapping[str, str], title: str, xscale: str) -> Figure:
    """One point a run, coloured by w0; a row for each weight decay.

    Args:
        runs: Of several weight decays.
        panels: Columns on the abscissa, with their labels.
        title: Of the figure.
        xscale: ``"linear"`` or ``"log"``.
    """
    rows = values_by(runs, "weight_decay")
    deep = math.ceil(len(panels) / _COLUMNS)
    figure = new_figure(deep * len(rows), _COLUMNS, width=7.2, height=1.9 * deep * len(rows) + 0.5)
    colors = scale_colors(sorted(by_scale(runs)))
    grid, every = [], iter(np.array(figure.axes).reshape(len(rows), deep * _COLUMNS))
    for mine in every:
        grid += list(mine[: len(panels)])
        for axes in mine[len(panels) :]:
            axes.remove()
    for row, (decay, mine) in enumerate(rows.items()):
        for k, (name, label) in enumerate(panels.items()):
            axes = grid[row * len(panels) + k]
            for w0, members in by_scale(mine).items():
                axes.scatter(
                    values_of(members, name), values_of(members, "compressibility"), s=12, color=colors[w0], zorder=3
                )
            axes.set_xscale(xscale)
            axes.set_xlabel(label)
            if xscale == "linear":
                axes.locator_params(nbins=4)
            if k % _COLUMNS == 0:
                axes.set_ylabel(f"$c$, weight decay {decay:g}")
    scale_legend(figure, colors, "o")
    headline(figure, title)
    return figure


def _superposition(runs: Sequence[Run]) -> Figure:
    return draw_rows(runs, _SUPERPOSITION, "Compressibility against superposition and sparsity", "linear")


def _flatness(runs: Sequence[Run]) -> Figure:
    return draw_rows(
        runs, _FLATNESS, "Compressibility against trace and largest eigenvalue of three curvatures", "linear"
    )


register_figure(
    FigureSpec(
        "beyond_superposition",
        "compressibility against frequencies per neuron, interference and packing",
        _superposition,
        "beyond-ends",
        columns=("compressibility", *_SUPERPOSITION),
        apart=WHOLE,
    )
)
register_figure(
    FigureSpec(
        "beyond_flatness",
        "compressibility against trace and largest eigenvalue of Fisher and Hessian",
        _flatness,
        "beyond-ends",
        columns=("compressibility", *_FLATNESS),
        apart=WHOLE,
    )
)

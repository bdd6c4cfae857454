"""Correlations of every neuron of every layer of the Ising network with E, M and |M|: figures 12 and 13."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from grokfast.figures.choose import by_scale, counted, regime
from grokfast.figures.dynamics import QUANTITIES
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import FEATURE_COLORS, headline, new_figure
from grokfast.runs import Run

_LAYERS = {
    "conv1": "conv 1, units",
    "channels1": "conv 1, means",
    "conv2": "conv 2, units",
    "channels2": "conv 2, means",
    "hidden": "hidden",
    "output": "output",
}


def _regime_figure(name: str, which: Callable[[Sequence[float]], float], what: str) -> FigureSpec:
    """The figure of one regime: a row a quantity, a column a layer in each reading; seeds side by side."""

    def draw(runs: Sequence[Run]) -> Figure:
        groups = by_scale(runs)
        w0 = which(list(groups))
        members = groups[w0]
        layers = [layer for layer in _LAYERS if f"r_{layer}" in members[0].arrays]
        figure = new_figure(len(QUANTITIES), len(layers), width=1.3 * len(layers), height=4.6, sharey=True)
        grid = np.array(figure.axes).reshape(len(QUANTITIES), len(layers))
        for column, layer in zip(grid.T, layers, strict=True):
            found = np.stack([run.arrays[f"r_{layer}"] for run in members])  # [seeds, K, Q]
            _layer_column(list(column), found)
            constant = int(np.isnan(found).all(-1).sum())
            column[0].set_title(_LAYERS[layer] + (f"\n{constant} constant" if constant else ""), fontsize="small")
            column[-1].set_xlabel("seeds, neurons\nin each", fontsize="small")
        for axes, symbol in zip(grid[:, 0], QUANTITIES.values(), strict=True):
            axes.set_ylabel(f"r({symbol})")
        headline(figure, f"Ising phases, $w_0$ = {w0:g}: {regime(members)}, {counted(len(members))}")
        return figure

    title = f"correlations of every neuron with E, M and |M|, {what}"
    return FigureSpec(name, title, draw, "ising-ends", columns=("r_*",))


def _layer_column(column: Sequence[Axes], found: NDArray[np.float64]) -> None:
    """One layer: ``found [seeds, neurons, quantities]``."""
    seeds, neurons = found.shape[:2]
    place = np.arange(seeds)[:, None] + 0.1 + 0.8 * np.arange(neurons) / neurons
    for k, axes in enumerate(column):
        r = found[:, :, k]
        axes.scatter(place, r, s=2 if neurons > 20 else 6, color=FEATURE_COLORS[k], linewidth=0, rasterized=True)
        mean = np.nanmean(np.abs(r)) if not np.isnan(r).all() else np.nan
        # Below the least that a correlation can be: no point lies there.
        axes.text(0.03, 0.02, f"mean |r| {mean:.2f}", transform=axes.transAxes, fontsize="small")
        axes.set(xlim=(0, seeds), ylim=(-1.5, 1.05), yticks=(-1, 0, 1), xticks=range(seeds + 1), xticklabels=[])


register_figure(_regime_figure("fig12", min, "smallest w0 (learning)"))
register_figure(_regime_figure("fig13", max, "largest w0 (grokking)"))

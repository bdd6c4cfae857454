"""Correlations of every neuron of every layer with E, M and |M|: what figures 12 and 13 share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures.layer_dynamics import QUANTITIES
from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec, by_scale, regime
from grokfast.figures.style import FEATURE_COLORS, new_figure
from grokfast.runs import Run, RunTable

_LAYERS = {
    "conv1": "conv 1, units",
    "channels1": "conv 1, means",
    "conv2": "conv 2, units",
    "channels2": "conv 2, means",
    "hidden": "hidden",
    "output": "output",
}


def correlations_spec(name: str, which: Callable[[Sequence[float]], float], what: str) -> FigureSpec:
    """The figure of one regime: a row a quantity, a column a layer in each reading; seeds side by side.

    Args:
        name: Of the figure.
        which: Chooses the w0 among those there are: ``min`` or ``max``.
        what: The regime in words.
    """

    def draw(runs: Sequence[Run], table: RunTable) -> Figure:
        groups = by_scale(runs)
        w0 = which(list(groups))
        members = groups[w0]
        layers = [layer for layer in _LAYERS if f"r_{layer}" in members[0].arrays]
        figure = new_figure(len(QUANTITIES), len(layers), width=1.75 * len(layers), height=5.6, sharey=True)
        grid = np.array(figure.axes).reshape(len(QUANTITIES), len(layers))
        for column, layer in zip(grid.T, layers, strict=True):
            found = np.stack([run.arrays[f"r_{layer}"] for run in members])  # [seeds, K, Q]
            seeds, neurons = found.shape[:2]
            place = np.arange(seeds)[:, None] + 0.1 + 0.8 * np.arange(neurons) / neurons
            for axes, k in zip(column, range(len(QUANTITIES)), strict=True):
                axes.scatter(
                    place,
                    found[:, :, k],
                    s=3 if neurons > 20 else 9,
                    color=FEATURE_COLORS[k],
                    linewidth=0,
                    rasterized=True,
                )
                mean = np.nanmean(np.abs(found[:, :, k])) if not np.isnan(found[:, :, k]).all() else np.nan
                axes.text(0.03, 0.03, f"mean |r| {mean:.2f}", transform=axes.transAxes, fontsize=6.5)
                axes.set(xlim=(0, seeds), ylim=(-1.15, 1.05), xticks=range(seeds + 1), xticklabels=[])
            constant = int(np.isnan(found).all(-1).sum())
            column[0].set_title(_LAYERS[layer] + (f"\n{constant} constant" if constant else ""), fontsize=8)
            column[-1].set_xlabel("seeds, neurons in each", fontsize=8)
        for axes, symbol in zip(grid[:, 0], QUANTITIES.values(), strict=True):
            axes.set_ylabel(f"r({symbol})")
        count = f"{len(members)} seed{'s' if len(members) > 1 else ''}"
        figure.suptitle(f"Ising phases, $w_0$ = {w0:g}: {regime(members)}, {count}")
        return figure

    return FigureSpec(
        name=name,
        title=f"correlations of every neuron with E, M and |M|, {what}",
        condition=ISING_TEXT,
        command=ISING_COMMAND,
        draw=draw,
    )

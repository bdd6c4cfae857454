"""Figure 11: extended domain walls, cold snapshots that are ordered by energy but not by magnetisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from grokfast.figures.registry import FigureSpec
from grokfast.figures.style import new_figure
from grokfast.ising import find_stripes, ising_dataset
from grokfast.ising.exact import critical_temperature
from grokfast.ising.pictures import DOWN, UP
from grokfast.runs import Run, RunTable

WALLS = 3


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    data = ising_dataset(seed=0)
    cold = data.temperatures.numpy() < critical_temperature() - 0.4
    striped = np.logical_or(*find_stripes(data.spins.numpy())) & cold
    found = np.flatnonzero(striped)
    # Those nearest to no magnetisation, of different temperatures.
    ranked = found[np.argsort(np.abs(data.magnetizations.numpy()[found]), kind="stable")]
    _, first = np.unique(data.temperatures.numpy()[ranked], return_index=True)
    chosen = ranked[np.sort(first)[:WALLS]]
    figure = new_figure(1, WALLS, width=2.2 * WALLS, height=2.9)
    for axis, index in zip(figure.axes, chosen, strict=True):
        axis.imshow(data.spins[index].numpy(), cmap=ListedColormap([DOWN, UP]), vmin=-1, vmax=1)
        axis.set(xticks=[], yticks=[], title=f"T = {data.temperatures[index]:.2f}")
        axis.set_xlabel(f"E/N = {data.energies[index]:.2f}, M/N = {data.magnetizations[index]:.2f}")
        axis.grid(False)
        axis.spines[:].set_visible(True)
    figure.suptitle(f"{found.size / cold.sum():.1%} of the snapshots at T < Tc - 0.4 have straight walls", fontsize=9)
    return figure


SPEC = FigureSpec(
    name="fig11",
    title="three extended domain walls (needs no runs)",
    condition="false",
    command="",
    draw=_draw,
    minimum_scales=0,
)

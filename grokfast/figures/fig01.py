"""Figure 1: snapshots of the Ising model below, at and above the critical temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from grokfast.figures.registry import FigureSpec
from grokfast.figures.style import new_figure
from grokfast.ising import ising_dataset
from grokfast.ising.exact import critical_temperature
from grokfast.ising.pictures import DOWN, UP
from grokfast.runs import Run, RunTable

SNAPSHOTS = 4


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    Tc = critical_temperature()
    rows = {"$T = T_c - 0.8$": Tc - 0.8, "$T = T_c$": Tc, "$T = T_c + 0.8$": Tc + 0.8}
    data = ising_dataset(16, list(rows.values()), 200, 40, seed=0)
    # The snapshots of median energy at each temperature: typical ones, without a choice by eye.
    figure = new_figure(len(rows), SNAPSHOTS, width=1.25 * SNAPSHOTS + 0.6, height=1.35 * len(rows) + 0.3)
    grid = np.array(figure.axes).reshape(len(rows), SNAPSHOTS)
    for axes, (label, T) in zip(grid, rows.items(), strict=True):
        members = np.flatnonzero(np.isclose(data.temperatures.numpy(), T))
        ranked = members[np.argsort(data.energies.numpy()[members], kind="stable")]
        first = len(ranked) // 2 - SNAPSHOTS // 2
        for k, (axis, index) in enumerate(zip(axes, ranked[first : first + SNAPSHOTS], strict=True)):
            axis.imshow(data.spins[index].numpy(), cmap=ListedColormap([DOWN, UP]), vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[], ylabel=label if k == 0 else "")
            axis.set_xlabel(f"E/N = {data.energies[index]:.2f}, M/N = {data.magnetizations[index]:.2f}", fontsize=6)
            axis.grid(False)
            axis.spines[:].set_visible(True)
    figure.suptitle("Metropolis, 40 sweeps from a random start")
    return figure


SPEC = FigureSpec(
    name="fig01",
    title="Ising snapshots below, at and above the critical temperature (needs no runs)",
    condition="false",
    command="",
    draw=_draw,
    minimum_scales=0,
)

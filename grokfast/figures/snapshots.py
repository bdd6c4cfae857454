"""Snapshots of the Ising model: figure 1, at three temperatures, and figure 11, extended domain walls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import headline, new_figure
from grokfast.ising import IsingDataset, find_stripes, ising_dataset
from grokfast.ising.exact import critical_temperature
from grokfast.ising.pictures import DOWN, UP
from grokfast.runs import Run

SNAPSHOTS = 4
WALLS = 3


def _show(axes: Axes, data: IsingDataset, index: int, size: str | None = None) -> None:
    axes.imshow(data.spins[index].numpy(), cmap=ListedColormap([DOWN, UP]), vmin=-1, vmax=1)
    axes.set(xticks=[], yticks=[])
    text = f"E/N = {data.energies[index]:.2f}, M/N = {data.magnetizations[index]:.2f}"
    axes.set_xlabel(text, fontsize=size)
    axes.grid(False)
    axes.spines[:].set_visible(True)


def _draw_temperatures(runs: Sequence[Run]) -> Figure:
    Tc = critical_temperature()
    rows = {"$T = T_c - 0.8$": Tc - 0.8, "$T = T_c$": Tc, "$T = T_c + 0.8$": Tc + 0.8}
    data = ising_dataset(16, list(rows.values()), 200, 40, seed=0)
    # The snapshots of median energy at each temperature: typical ones, without a choice by eye.
    figure = new_figure(len(rows), SNAPSHOTS, width=1.6 * SNAPSHOTS + 0.5, height=1.7 * len(rows) + 0.3)
    grid = np.array(figure.axes).reshape(len(rows), SNAPSHOTS)
    for axes, (label, T) in zip(grid, rows.items(), strict=True):
        members = np.flatnonzero(np.isclose(data.temperatures.numpy(), T))
        ranked = members[np.argsort(data.energies.numpy()[members], kind="stable")]
        first = len(ranked) // 2 - SNAPSHOTS // 2
        for k, (axis, index) in enumerate(zip(axes, ranked[first : first + SNAPSHOTS], strict=True)):
            _show(axis, data, int(index), "small")
            axis.set_ylabel(label if k == 0 else "")
    headline(figure, "Metropolis, 40 sweeps from a random start")
    return figure


def _draw_walls(runs: Sequence[Run]) -> Figure:
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
        _show(axis, data, int(index))
        axis.set_title(f"T = {data.temperatures[index]:.2f}")
    headline(figure, f"{found.size / cold.sum():.1%} of the snapshots at T < $T_c$ − 0.4 have straight walls")
    return figure


register_figure(
    FigureSpec(
        "fig01", "Ising snapshots below, at and above the critical temperature (needs no runs)", _draw_temperatures
    )
)
register_figure(FigureSpec("fig11", "three extended domain walls (needs no runs)", _draw_walls))

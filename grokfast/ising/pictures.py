"""Pictures of snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grokfast._checks import check_at_least
from grokfast.ising.dataset import IsingDataset
from grokfast.ising.exact import critical_temperature
from grokfast.ising.stripes import find_stripes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UP, DOWN, MARK = "#f3e9d2", "#26456e", "#d1495b"


def plot_snapshots(
    dataset: IsingDataset, temperatures: int = 5, snapshots: int = 8, *, mark_stripes: bool = True
) -> Figure:
    """A grid of snapshots: a row for each temperature, cold at the top, the first snapshots of each.

    Args:
        dataset: Where to take them from.
        temperatures: Rows, at most: spread evenly over the temperatures there are.
        snapshots: Columns, at most.
        mark_stripes: Whether cold snapshots with straight domain walls get a coloured frame.

    Returns:
        A matplotlib figure, not attached to any window; ``figure.savefig(path)`` writes it.

    Raises:
        InputError: If a number is less than 1.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    from grokfast._figure import ShownFigure

    check_at_least("temperatures", temperatures, 1)
    check_at_least("snapshots", snapshots, 1)
    all_temperatures = dataset.temperatures.numpy()
    there = np.unique(all_temperatures)
    picks = np.unique(np.linspace(0, there.size - 1, min(temperatures, there.size)).round().astype(int))
    chosen = [np.flatnonzero(all_temperatures == T)[:snapshots] for T in there[picks]]
    columns = max(len(indices) for indices in chosen)
    J = dataset.parameters.get("J", 1.0)
    Tc = critical_temperature(J if isinstance(J, int | float) else 1.0)

    height = 0.95 * len(chosen) + (0.35 if mark_stripes else 0.1)
    figure = ShownFigure(figsize=(0.95 * columns + 0.9, height), layout="constrained")
    axes = figure.subplots(len(chosen), columns, squeeze=False)
    colors = ListedColormap([DOWN, UP])
    marked = False
    for row, T, indices in zip(axes, there[picks], chosen, strict=True):
        cold = bool(Tc > T)
        for axis in row:
            axis.set_axis_off()
        row[0].text(
            -0.12,
            0.5,
            f"T = {T:.2f}\n{'below' if cold else 'above'} Tc",
            transform=row[0].transAxes,
            ha="right",
            va="center",
            fontsize=8,
        )
        for axis, index in zip(row, indices, strict=False):
            spins = dataset.spins[index].numpy()
            axis.imshow(spins, cmap=colors, vmin=-1, vmax=1, interpolation="nearest")
            striped = any(bool(kind) for kind in find_stripes(spins)) and cold
            if mark_stripes and striped:
                marked = True
                axis.add_patch(
                    Rectangle(
                        (-0.04, -0.04),
                        1.08,
                        1.08,
                        transform=axis.transAxes,
                        fill=False,
                        clip_on=False,
                        edgecolor=MARK,
                        linewidth=2.5,
                    )
                )
    if marked:
        figure.supxlabel("framed: straight domain walls below Tc", fontsize=8, color=MARK)
    return figure

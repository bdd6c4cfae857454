"""The phase transition of the Ising model, against exact curves, and the snapshots a network learns from.

Run it (about twenty seconds on one core, the first time five more to compile)::

    python examples/ising_phase_transition.py [folder] [--quick]

It writes ``ising_transition.png`` and ``ising_snapshots.png`` into the folder, by default the present one.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures import scale_colors
from grokfast.ising import (
    IsingSampler,
    Measurements,
    UnreliableErrorWarning,
    ising_dataset,
    plot_snapshots,
    stripe_report,
)
from grokfast.ising.exact import (
    critical_temperature,
    kaufman_energy,
    kaufman_specific_heat,
    onsager_energy,
    onsager_specific_heat,
    spontaneous_magnetization,
)

SIZES = (8, 16, 32, 64)


def measure(L: int, temperatures: np.ndarray) -> Measurements:
    """Equilibrium averages of 64 replicas at each temperature, started from all spins up."""
    sampler = IsingSampler(L, temperatures, replicas=64, init="up", seed=L)
    sampler.sweep(2 * L * L)
    with warnings.catch_warnings():
        # Small cold lattices reverse so rarely that χ and Binder's cumulant would need a longer run.
        warnings.simplefilter("ignore", UnreliableErrorWarning)
        return sampler.measure(40, every=max(4, L * L // 20))


def draw_transition(sizes: list[int]) -> Figure:
    """Energy, specific heat, magnetisation and Binder cumulant through the transition."""
    Tc = critical_temperature()
    points = np.linspace(Tc - 1, Tc + 1, 25)
    curve = np.linspace(Tc - 1, Tc + 1, 401)
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    (energy, heat), (order, binder) = figure.subplots(2, 2, sharex=True)
    energy.plot(curve, onsager_energy(curve), "k--", lw=1, label="Onsager, L = ∞")
    heat.plot(curve, onsager_specific_heat(curve), "k--", lw=1)
    order.plot(curve, spontaneous_magnetization(curve), "k--", lw=1, label="Yang, L = ∞")
    colors = scale_colors(sizes)
    for L in sizes:
        color = colors[L]
        measured = measure(L, points)
        style = {"fmt": "o", "ms": 3.5, "color": color, "lw": 1}
        energy.plot(curve, kaufman_energy(curve, L), color=color, lw=1)
        energy.errorbar(points, *measured.energy, **style, label=f"L = {L}")
        heat.plot(curve, kaufman_specific_heat(curve, L), color=color, lw=1)
        heat.errorbar(points, *measured.specific_heat, **style)
        order.errorbar(points, *measured.abs_magnetization, **style)
        binder.errorbar(points, *measured.binder, **style)
        worst = np.abs((measured.energy.mean - kaufman_energy(points, L)) / measured.energy.error).max()
        print(f"L = {L:2d}: largest deviation of 25 energies from Kaufman is {worst:.1f} standard errors")
    for axis, label in (
        (energy, "energy per site / J"),
        (heat, "specific heat per site"),
        (order, "|magnetisation| per site"),
        (binder, "Binder cumulant"),
    ):
        axis.axvline(Tc, color="0.7", lw=1, zorder=0)
        axis.set_ylabel(label)
    heat.set_ylim(0, 2.7)
    binder.axhline(2 / 3, color="0.85", lw=1, zorder=0)
    for axis in (order, binder):
        axis.set_xlabel("temperature / J")
    energy.legend(frameon=False, fontsize=8, title="points: sampled, lines: Kaufman", title_fontsize=8)
    order.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--quick", action="store_true", help="only the two smallest lattices")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    sizes = [8, 16] if options.quick else list(SIZES)
    draw_transition(sizes).savefig(options.folder / "ising_transition.png", dpi=110)
    dataset = ising_dataset(snapshots=200, seed=0)
    print(stripe_report(dataset))
    picture = plot_snapshots(dataset, temperatures=6, snapshots=12)
    picture.savefig(options.folder / "ising_snapshots.png", dpi=110)


if __name__ == "__main__":
    main()

"""Pictures of temperature scans and quenches; matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grokfast.ising.exact import (
    critical_temperature,
    kaufman_energy,
    kaufman_specific_heat,
    onsager_energy,
    onsager_specific_heat,
    spontaneous_magnetization,
)
from grokfast.ising.finite_size import Number
from grokfast.ising.pictures import DOWN, UP
from grokfast.ising.quench import Quench
from grokfast.ising.scan import Scan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = ("#e0a458", "#d1495b", "#7b4b94", "#26456e", "#3a7d44", "#6b705c", "#00798c")
_WIDE = 7.08  # inches: 180 mm, the width of a page

_TEXT, _SMALL = 7.5, 6.5  # points

_PANELS = {
    "energy": "energy per site  e / J",
    "specific_heat": "specific heat  c",
    "abs_magnetization": "|magnetisation|  ⟨|m|⟩",
    "susceptibility": "susceptibility  χ J",
    "binder": "Binder cumulant  U",
}


def plot_scan(scan: Scan) -> Figure:
    """Energy, specific heat, |m|, susceptibility and Binder cumulant against T, with the exact curves there are.

    Args:
        scan: What :func:`grokfast.ising.scan.temperature_scan` returned.

    Returns:
        A matplotlib figure, not attached to any window; ``figure.savefig(path)`` writes it.
    """
    from grokfast._figure import ShownFigure

    J, T = scan.J, scan.temperatures
    figure = ShownFigure(figsize=(_WIDE, 4.9), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    margin = 0.02 * max(T[-1] - T[0], 0.1 * T[0])
    curve = np.linspace(max(T[0] - margin, 0.05 * J), T[-1] + margin, 301)
    ringed = False
    for axis, (name, label) in zip(axes, _PANELS.items(), strict=False):
        axis.set_ylabel(label, fontsize=_TEXT)
        axis.set_xlabel("temperature  T / J", fontsize=_TEXT)
        axis.tick_params(which="both", labelsize=_SMALL)
        if curve[0] < critical_temperature(J) < curve[-1]:
            axis.axvline(critical_temperature(J), color="0.75", lw=1, zorder=0)
        for i, (L, measured) in enumerate(scan.measured.items()):
            mean, error = getattr(measured, name)
            color = _COLORS[i % len(_COLORS)]
            short = measured.trust[name].status == "short"
            axis.errorbar(T, mean, error, fmt="o", ms=1.8, lw=0.7, color=color, label=f"L = {L}")
            if short.any():
                axis.plot(T[short], mean[short], "o", ms=4.5, mfc="none", mec=color, mew=0.5)
                ringed = True
            if name in ("energy", "specific_heat"):
                exact = kaufman_energy if name == "energy" else kaufman_specific_heat
                axis.plot(curve, exact(curve, L, J), color=color, lw=0.8, zorder=1)
        axis.margins(x=0.02)
    axes[0].plot(curve, onsager_energy(curve, J), "k--", lw=0.8, label="L = ∞: Onsager, Yang")
    heat = onsager_specific_heat(curve, J)
    top = axes[1].get_ylim()[1]
    axes[1].plot(curve, np.where(heat < 1.4 * top, heat, np.nan), "k--", lw=0.8)
    axes[2].plot(curve, spontaneous_magnetization(curve, J), "k--", lw=0.8)
    axes[3].set_yscale("log")
    axes[4].axhline(2.0 / 3.0, color="0.85", lw=1, zorder=0)
    handles, labels = axes[0].get_legend_handles_labels()
    title = "points: sampled; lines: Kaufman" + ("; ringed: the error is too small" if ringed else "")
    figure.legend(
        handles, labels, loc="outside upper center", ncols=min(len(handles), 6), frameon=False, fontsize=_SMALL,
        title=title, title_fontsize=_SMALL,
    )  # fmt: skip
    _write_estimates(axes[5], scan)
    return figure


def _write_estimates(axis: Axes, scan: Scan) -> None:
    """The finite-size estimates in words."""
    axis.set_axis_off()
    found = scan.finite_size
    if found is None:
        axis.text(0.0, 0.9, f"No finite-size estimates:\n{scan.why_not}", va="top", fontsize=_SMALL, wrap=True)
        return

    def line(name: str, number: Number, exact: str) -> str:
        interval = f"{number.low:.4f} to {number.high:.4f}"
        return f"{name} = {number.value:.4f} ± {number.error:.4f}\n    95 %: {interval};  exact {exact}"

    Tc = critical_temperature(scan.J)
    lines = [
        "Finite-size estimates",
        line("Tc", found.Tc, f"{Tc:.4f}"),
        line("γ/ν", found.gamma_over_nu, "1.75"),
        line("β/ν", found.beta_over_nu, "0.125"),
    ]
    axis.text(0.0, 0.95, "\n\n".join(lines), va="top", fontsize=_TEXT, linespacing=1.4)


def plot_quench(quench: Quench) -> Figure:
    """A strip of snapshots, and the domain size L(t) beside t^(1/2).

    Args:
        quench: What :func:`grokfast.ising.quench.quench` returned.

    Returns:
        A matplotlib figure, not attached to any window.
    """
    from matplotlib.colors import ListedColormap

    from grokfast._figure import ShownFigure

    count = len(quench.picture_times)
    figure = ShownFigure(figsize=(_WIDE, 4.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.9))
    strip, below = parts
    colors = ListedColormap([DOWN, UP])
    for axis, t, spins in zip(
        strip.subplots(1, count, squeeze=False)[0], quench.picture_times, quench.pictures, strict=True
    ):
        axis.imshow(spins, cmap=colors, vmin=-1, vmax=1, interpolation="nearest")
        axis.set_title(f"t = {t}", fontsize=_TEXT)
        axis.set_xticks([]), axis.set_yticks([])
    axis = below.subplots()
    axis.errorbar(quench.times, quench.lengths, quench.errors, fmt="o", ms=3, lw=1, color=_COLORS[3], label="L(t)")
    first, last = quench.fitted
    middle = np.searchsorted(quench.times, first)
    law = np.geomspace(first, last, 50)
    axis.plot(law, 0.8 * quench.lengths[middle] * np.sqrt(law / first), "k--", lw=1, label="t^(1/2) (Allen–Cahn)")
    axis.set_xscale("log"), axis.set_yscale("log")
    axis.set_xlabel("sweeps  t", fontsize=_TEXT)
    axis.tick_params(which="both", labelsize=_SMALL)
    axis.set_ylabel("domain size  L(t) = 4 J / (e(t) − e_eq)", fontsize=_TEXT)
    slope, error = quench.exponent
    fit = f"exponent {slope:.3f} ± {error:.3f} for t = {first} to {last}" if np.isfinite(slope) else "too short to fit"
    axis.set_title(f"{quench.dynamics}, T = {quench.temperature:g}: {fit}", fontsize=_TEXT)
    axis.legend(frameon=False, fontsize=_TEXT)
    return figure

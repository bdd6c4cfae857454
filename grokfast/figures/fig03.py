"""Figure 3: energy against the pre-activation of the strongest hidden neuron, and |r(E)| of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec, by_scale, regime
from grokfast.figures.style import GROKKING, LEARNING, new_figure
from grokfast.runs import Run, RunTable

BINS = [k / 40 for k in range(41)]


def last_hidden(run: Run) -> str:
    """Name of the last hidden layer in the run's columns and arrays."""
    count = len(run.config.to_dict()["task"]["hidden"])
    return "hidden" if count == 1 else f"hidden{count}"


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    groups = by_scale(runs)
    figure = new_figure(1, 3, width=10, height=3.3)
    scatters, histogram = figure.axes[:2], figure.axes[2]
    for axes, w0, color in zip(scatters, (min(groups), max(groups)), (LEARNING, GROKKING), strict=True):
        members = groups[w0]
        layer = last_hidden(members[0])
        arrays = members[0].arrays
        energies, strongest = arrays["energy"], arrays["strongest"]
        r = np.corrcoef(energies, strongest)[0, 1] if strongest.std() > 0 else np.nan
        axes.scatter(strongest, energies, s=5, color=color, alpha=0.5, linewidth=0, rasterized=True)
        axes.set(
            title=f"$w_0$ = {w0:g}: {regime(members)} (seed {members[0].config.seed}), r = {r:.3f}",
            xlabel="pre-activation of the strongest hidden neuron",
            ylabel="energy per site [J]" if axes is scatters[0] else "",
        )
        found = np.abs(np.concatenate([run.arrays[f"r_{layer}"][:, 0] for run in members]))
        constant = int(np.isnan(found).sum())
        found = found[~np.isnan(found)]
        mean = found.mean() if found.size else np.nan
        label = f"$w_0$ = {w0:g}: mean {mean:.3f}, {constant} constant"
        histogram.hist(found, bins=BINS, histtype="stepfilled", color=color, alpha=0.4)
        histogram.hist(found, bins=BINS, histtype="step", color=color, label=label, linewidth=1.3)
    histogram.set(xlabel="|r(E)| of the last hidden layer", ylabel="neurons")
    count = min(len(groups[w0]) for w0 in (min(groups), max(groups)))
    histogram.set_title(f"all neurons of {count} seed{'s' if count > 1 else ''}")
    histogram.legend(loc="upper left")
    return figure


SPEC = FigureSpec(
    name="fig03",
    title="energy against pre-activation and histogram of |r(E)| in the last hidden layer, smallest and largest w0",
    condition=ISING_TEXT,
    command=ISING_COMMAND,
    draw=_draw,
    minimum_scales=2,
)

"""Figure 3: energy against the pre-activation of the strongest hidden neuron, and |r(E)| of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures.choose import counted, ends, regime, seed_of
from grokfast.figures.dynamics import last_hidden
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import GROKKING, LEARNING, new_figure
from grokfast.runs import Run

BINS = [k / 40 for k in range(41)]


def _draw(runs: Sequence[Run]) -> Figure:
    groups = ends(runs)
    figure = new_figure(1, 3, width=7.2, height=2.6)
    scatters, histogram = figure.axes[:2], figure.axes[2]
    for axes, (w0, members), color in zip(scatters, groups.items(), (LEARNING, GROKKING), strict=True):
        layer = last_hidden(members[0])
        arrays = members[0].arrays
        energies, strongest = arrays["energy"], arrays["strongest"]
        r = np.corrcoef(energies, strongest)[0, 1] if strongest.std() > 0 else np.nan
        axes.scatter(strongest, energies, s=5, color=color, alpha=0.5, linewidth=0, rasterized=True)
        axes.set(
            title=f"$w_0$ = {w0:g}: {regime(members)}\n(seed {seed_of(members[0])}), r = {r:.3f}",
            xlabel="pre-activation of\nthe strongest hidden neuron",
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
    counts = dict.fromkeys(counted(len(members)) for members in groups.values())
    histogram.set_title(f"all neurons of {' and '.join(counts)}")
    histogram.legend(loc="upper left")
    histogram.set_ylim(0, histogram.get_ylim()[1] * 1.3)  # room for the legend
    return figure


register_figure(
    FigureSpec(
        "fig03",
        "energy against pre-activation and histogram of |r(E)| in the last hidden layer, smallest and largest w0",
        _draw,
        "ising-ends",
        columns=("energy", "strongest", "r_hidden*"),
        scales=2,
    )
)

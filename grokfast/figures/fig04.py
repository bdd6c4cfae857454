"""Figure 4: Fourier coefficients of the output matrix and the inverse participation ratios, in both regimes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures.choose import counted, ends, regime, seed_of
from grokfast.figures.frequencies import frequency_shares, lacks_frequencies
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import GROKKING, LEARNING, new_figure
from grokfast.runs import Run

BINS = [k / 40 for k in range(41)]


def _draw(runs: Sequence[Run]) -> Figure:
    groups = ends(runs)
    figure = new_figure(1, 3, width=7.2, height=3.0)
    maps, histogram = figure.axes[:2], figure.axes[2]
    for axes, (w0, members), color in zip(maps, groups.items(), (LEARNING, GROKKING), strict=True):
        share = frequency_shares(members[0])
        image = axes.imshow(share.T, aspect="auto", origin="lower", cmap="viridis", vmin=0, vmax=1)
        axes.grid(False)
        axes.set(
            title=f"$w_0$ = {w0:g}: {regime(members)}\n(seed {seed_of(members[0])})",
            xlabel=f"neuron, sorted ({share.shape[0]} live)",
            ylabel="frequency" if axes is maps[0] else "",
        )
        ratios = np.concatenate([run.arrays["ipr_output"] for run in members])
        dead = int(np.isnan(ratios).sum())
        ratios = ratios[~np.isnan(ratios)]
        label = f"$w_0$ = {w0:g}: mean {ratios.mean():.2f}, {dead} dead"
        histogram.hist(ratios, bins=BINS, density=True, histtype="stepfilled", color=color, alpha=0.45)
        histogram.hist(
            ratios,
            bins=BINS,
            density=True,
            histtype="step",
            color=color,
            label=label,
            linewidth=1.3,
        )
    figure.colorbar(image, ax=maps, label="share of the neuron's squared norm", location="bottom", aspect=40, pad=0.04)
    histogram.set(xlabel="IPR of the output weights\n(real basis)", ylabel="density")
    histogram.legend(loc="upper left")
    histogram.set_ylim(0, histogram.get_ylim()[1] * 1.3)
    counts = dict.fromkeys(counted(len(members)) for members in groups.values())
    histogram.set_title(f"all neurons of {' and '.join(counts)}")
    return figure


def _lacks(run: Run) -> str | None:
    return lacks_frequencies(run) if "ipr_output" in run.arrays else "the ipr_output of each neuron"


register_figure(
    FigureSpec(
        "fig04",
        "Fourier coefficients of the output matrix and histogram of the IPR, smallest and largest w0",
        _draw,
        "main-text-ends",
        columns=("ipr_output",),
        lacks=_lacks,
        scales=2,
    )
)

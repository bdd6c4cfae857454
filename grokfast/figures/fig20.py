"""Figure 20: the sorted Fisher diagonal of the end models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.figures.choose import title_of
from grokfast.figures.geometry import (
    PAPERS_METRIC,
    STUDIES,
    by_task,
    look_of,
    metric_title,
    panel_label,
    shown_metrics,
    side_legend,
    sides,
)
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import NEUTRAL, band, new_figure
from grokfast.runs import Run


def _draw(runs: Sequence[Run]) -> Figure:
    panels = [
        (mine, metric)
        for mine in by_task(runs).values()
        for metric in dict.fromkeys(name.removesuffix("-full") for name in shown_metrics(mine))
    ]
    figure = new_figure(1, len(panels), width=3.4 * len(panels), height=3.3)
    for axes, (mine, metric) in zip(figure.axes, panels, strict=True):
        stiff = []
        for side in sides(mine):
            ranks = side.runs[0].arrays["spectrum_ranks"] + 1
            name = f"spectrum_{metric.replace('-', '_')}"
            spectra = np.stack([run.arrays[name] for run in side.runs]).astype(np.float64)
            start = look_of(side.runs[0]).stiff or 0.1
            share = np.mean([run.summary[f"stiff_{name.replace('spectrum', 'share')}"] for run in side.runs])
            # What is exactly zero (dead neurons) has no place on a logarithmic axis.
            shown = (spectra > 0).all(0)
            label = f"{side.label}, {share:.1%} from {start:g}"
            stiff.append(f"{share:.1%}")
            band(axes, ranks[shown], spectra[:, shown], color=side.color, label=label)
        axes.set_label(panel_label(mine, metric, "spectrum"))
        axes.axhline(0.1, color=NEUTRAL, linestyle="--", linewidth=0.8)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="rank",
            title=f"{title_of(mine)}\n{metric_title(metric)}\n≥ {start:g}: {', '.join(stiff)}",
        )
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 1e-12 * high), max(high, 0.2))
    side_legend(figure, runs, {})
    figure.axes[0].set_ylabel("Fisher diagonal $g_{ii}$")
    return figure


register_figure(
    FigureSpec(
        "fig20",
        "sorted Fisher diagonal of the end models, both regimes, with the line at 0.1",
        _draw,
        STUDIES,
        columns=("spectrum_ranks", "stiff_share_*"),
        curves=("geometry_*_length",),
        apart="task",
        # The paper counts parameters from the smallest value.
        paper={
            f"ising {PAPERS_METRIC} spectrum": (Digitised("fig20a", ranks=6_797),),
            f"modular-addition {PAPERS_METRIC} spectrum": (Digitised("fig20b", ranks=174_193),),
        },
    )
)

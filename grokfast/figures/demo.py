"""The demo's figure: a steady learner and a grokker side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokfast.figures.fig05a import curves_by_scale
from grokfast.figures.registry import FigureSpec, by_scale, regime
from grokfast.figures.style import NEUTRAL, band, new_figure, scale_colors
from grokfast.runs import Run, RunTable

STYLES: tuple[tuple[Literal["--", "-"], str], ...] = (("--", "train"), ("-", "test"))


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    figure = new_figure(1, 3, width=11, height=3.4)
    accuracy, feature, pruning = figure.axes
    for w0, members in groups.items():
        epochs = members[0].history["epoch"]
        for split, dashes in (("train", "--"), ("test", "-")):
            curves = np.stack([run.history[f"{split}_accuracy"] for run in members])
            label = f"$w_0$ = {w0:g}: {regime(members)}" if split == "test" else None
            band(accuracy, epochs, curves, color=colors[w0], linestyle=dashes, label=label)
        ratios = np.stack([run.history["ipr_output"] for run in members])
        seen = ~np.isnan(ratios).any(0)
        band(feature, epochs[seen], ratios[:, seen], color=colors[w0], marker=".", label=f"{w0:g}")
    curves_by_scale(pruning, runs)
    accuracy.set(xlabel="epoch", ylabel="accuracy", xscale="log", ylim=(-0.02, 1.04), title="train dashed, test solid")
    accuracy.legend(loc="upper left", handles=[*accuracy.get_legend_handles_labels()[0], *_styles()])
    accuracy.set_ylim(-0.02, 1.04)
    feature.set(xlabel="epoch", ylabel="mean IPR of the output weights", xscale="log", title="features")
    pruning.set(xlabel="share of weights pruned, each layer", ylabel="test accuracy", title="compressibility")
    pruning.legend(title="$w_0$", loc="lower left")
    return figure


def _styles() -> list[Line2D]:
    return [Line2D([], [], color=NEUTRAL, linestyle=dashes, label=name) for dashes, name in STYLES]


SPEC = FigureSpec(
    name="demo",
    title="accuracies, features and pruning curves by w0",
    condition="task = 'modular-addition' AND status = 'finished'",
    command="grokfast demo",
    draw=_draw,
)

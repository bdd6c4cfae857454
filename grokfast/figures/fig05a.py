"""Figure 5a: layerwise pruning curves of modular addition by w0; inset: the 25x regime of weight decay 3e-4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.registry import MAIN_COMMAND, MAIN_TEXT, FigureSpec, by_scale, one_setting
from grokfast.figures.style import NEUTRAL, band, new_figure, scale_colors
from grokfast.runs import Run, RunTable

STRONG_DECAY = MAIN_TEXT.replace("3e-5", "3e-4")
INSET_COMMAND = "grokfast train modular-addition\n--weight-decay 3e-4 --w0 0.1 0.4 1 2 10"


def curves_by_scale(axes: Axes, runs: Sequence[Run]) -> None:
    """Mean pruning curve of each w0 with its band over seeds."""
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    for w0, members in groups.items():
        curves = np.stack([run.arrays["pruning_accuracy"] for run in members])
        c = np.mean([run.summary["compressibility"] for run in members])
        label = f"{w0:g}   ($c$ = {c:.2f})"
        band(axes, members[0].arrays["pruning_fractions"], curves, color=colors[w0], label=label)


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    curves_by_scale(axes, runs)
    axes.set(xlabel="share of weights pruned, each layer by itself", ylabel="test accuracy", ylim=(-0.02, 1.04))
    axes.legend(title="$w_0$", loc="lower left")
    inner = one_setting("the inset of fig05a", list(table.where(STRONG_DECAY)))
    if inner:
        inset = axes.inset_axes((0.12, 0.44, 0.4, 0.42))  # left of where the curves fall
        curves_by_scale(inset, inner)
        inset.set_title("weight decay 3e-4", fontsize=8)
        inset.tick_params(labelsize=7)
    else:
        missing = f"no inset: the store has no runs\nat weight decay 3e-4\n({INSET_COMMAND})"
        axes.text(0.98, 0.97, missing, transform=axes.transAxes, ha="right", va="top", fontsize=6, color=NEUTRAL)
    seeds = max(len(members) for members in by_scale(runs).values())
    axes.set_title(f"Modular addition, mean and standard deviation over {seeds} seed{'s' if seeds > 1 else ''}")
    return figure


SPEC = FigureSpec(
    name="fig05a",
    title="pruning curves of modular addition by w0 (inset, where the store has them: weight decay 3e-4)",
    condition=MAIN_TEXT,
    command=MAIN_COMMAND,
    draw=_draw,
)

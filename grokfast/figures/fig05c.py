"""Figure 5c: compressibility of modular addition against the end train loss, with a straight line below the onset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grokfast.figures.registry import MAIN_COMMAND, MAIN_TEXT, FigureSpec, by_scale
from grokfast.figures.style import draw_fit, new_figure, scale_colors
from grokfast.runs import Run, RunTable


def below_onset(runs: Sequence[Run]) -> list[Run]:
    """Runs of the scales w0 below the first from which the majority of seeds grok at every larger one."""
    groups = by_scale(runs)
    chosen: list[Run] = []
    grokking_above = True
    for members in reversed(list(groups.values())):
        grokking_above &= sum(bool(run.summary.get("groks")) for run in members) > len(members) / 2
        if not grokking_above:
            chosen += members
    return chosen


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    fitted = below_onset(runs)
    keys = {run.key for run in fitted}
    for w0, members in groups.items():
        marker = "o" if members[0].key in keys else "^"
        losses = [run.summary["end_train_loss"] for run in members]
        c = [run.summary["compressibility"] for run in members]
        axes.scatter(
            losses, c, color=colors[w0], marker=marker, s=26, label=f"{w0:g}", edgecolor="white", linewidth=0.4
        )
    fit = draw_fit(
        axes, *(np.array([run.summary[name] for run in fitted]) for name in ("end_train_loss", "compressibility"))
    )
    if fit is not None:
        axes.set_title(
            f"below the onset: slope {fit.slope:.0f} per nat, $R^2$ = {fit.r_squared:.2f}, n = {len(fitted)}"
        )
    else:
        axes.set_title("fewer than three runs below the onset: no fit")
    axes.set(xlabel="train loss at the end [nats]", ylabel="compressibility $c$")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.legend(title="$w_0$ (▲ groks)", loc="lower right", ncols=2)
    return figure


SPEC = FigureSpec(
    name="fig05c",
    title="compressibility against end train loss with a linear fit and its 95 % band below the onset",
    condition=MAIN_TEXT,
    command=MAIN_COMMAND,
    draw=_draw,
    minimum_scales=2,
)

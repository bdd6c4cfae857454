"""Figure 5d: compressibility of the Ising task against the end train loss, all seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec, by_scale, regime
from grokfast.figures.style import draw_fit, new_figure, scale_colors
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    for w0, members in groups.items():
        axes.scatter(
            [run.summary["end_train_loss"] for run in members],
            [run.summary["compressibility"] for run in members],
            color=colors[w0],
            marker="^" if regime(members) == "groks" else "o",
            s=26,
            label=f"{w0:g}",
            edgecolor="white",
            linewidth=0.4,
        )
    fit = draw_fit(
        axes, *(np.array([run.summary[name] for run in runs]) for name in ("end_train_loss", "compressibility"))
    )
    if fit is not None:
        axes.set_title(f"slope {fit.slope:.0f} per nat, $R^2$ = {fit.r_squared:.2f}, n = {len(runs)}")
    else:
        axes.set_title("fewer than three different losses: no fit")
    axes.set(xlabel="train loss at the end [nats]", ylabel="compressibility $c$")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.legend(title="$w_0$ (▲ groks)", ncols=2)
    return figure


SPEC = FigureSpec(
    name="fig05d",
    title="compressibility of the Ising task against end train loss, with a linear fit and its 95 % band",
    condition=ISING_TEXT,
    command=ISING_COMMAND,
    draw=_draw,
)

"""Figure 5b: layerwise pruning curves of the Ising task by w0."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.fig05a import curves_by_scale
from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec, by_scale
from grokfast.figures.style import new_figure
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    curves_by_scale(axes, runs)
    axes.axhline(0.5, color="black", linewidth=0.6, linestyle=":")
    axes.set(xlabel="share of weights pruned, each layer by itself", ylabel="test accuracy", ylim=(0.4, 1.0))
    axes.legend(title="$w_0$", loc="lower left")
    seeds = max(len(members) for members in by_scale(runs).values())
    axes.set_title(f"Ising phases, mean and standard deviation over {seeds} seed{'s' if seeds > 1 else ''}")
    return figure


SPEC = FigureSpec(
    name="fig05b",
    title="pruning curves of the Ising task by w0",
    condition=ISING_TEXT,
    command=ISING_COMMAND,
    draw=_draw,
)

"""Figure 18: layerwise pruning curves of modular addition by w0 at weight decay 3e-4, the 25x regime."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.fig05a import STRONG_DECAY, curves_by_scale
from grokfast.figures.registry import FigureSpec
from grokfast.figures.style import NEUTRAL, new_figure
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    curves_by_scale(axes, runs)
    axes.axhline(0.95, color=NEUTRAL, linewidth=0.7, linestyle=":")
    axes.set(xlabel="share of weights pruned, each layer by itself", ylabel="test accuracy", ylim=(-0.02, 1.04))
    axes.set_title("Modular addition at weight decay 3e-4")
    axes.legend(title="$w_0$", loc="lower left")
    return figure


SPEC = FigureSpec(
    name="fig18",
    title="pruning curves by w0 at weight decay 3e-4",
    condition=STRONG_DECAY,
    command="grokfast sweep fig18 --size laptop",
    draw=_draw,
)

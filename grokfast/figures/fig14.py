"""Figure 14: layerwise pruning curves of modular addition by w0, at batch 64 and at batch 200."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.fig05a import curves_by_scale
from grokfast.figures.registry import MAIN_TEXT, FigureSpec, split_by
from grokfast.figures.style import new_figure
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    parts = sorted(split_by(runs, "batch_size").items(), key=lambda part: int(part[0]))
    figure = new_figure(1, len(parts), width=4.2 * len(parts) + 0.4, height=3.6)
    for axes, (batch, members) in zip(figure.axes, parts, strict=True):
        curves_by_scale(axes, members)
        axes.set(title=f"batch {batch}", xlabel="share of weights pruned, each layer by itself", ylim=(-0.02, 1.04))
        axes.legend(title="$w_0$", loc="lower left")
    figure.axes[0].set_ylabel("test accuracy")
    return figure


SPEC = FigureSpec(
    name="fig14",
    title="pruning curves by w0 at batch 64 and 200 (those that the store has)",
    condition=MAIN_TEXT.replace("batch_size = 64", "batch_size IN (64, 200)"),
    command="grokfast sweep fig14 --size laptop",
    draw=_draw,
    apart="batch_size",
)

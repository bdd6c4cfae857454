"""Figure 19: compressibility against every other measure of the end model, weight decay 3e-4."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.fig05a import STRONG_DECAY
from grokfast.figures.registry import FigureSpec
from grokfast.figures.scatter import scatter_figure
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return scatter_figure(runs, "batch 64, weight decay 3e-4")


SPEC = FigureSpec(
    name="fig19",
    title="compressibility against losses, Gini coefficients and features, weight decay 3e-4",
    condition=STRONG_DECAY,
    command="grokfast sweep fig19 --size laptop",
    draw=_draw,
)

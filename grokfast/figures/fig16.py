"""Figure 16: compressibility against every other measure of the end model, batch 200."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import MAIN_TEXT, FigureSpec
from grokfast.figures.scatter import scatter_figure
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return scatter_figure(runs, "batch 200, weight decay 3e-5")


SPEC = FigureSpec(
    name="fig16",
    title="compressibility against losses, Gini coefficients and features, batch 200",
    condition=MAIN_TEXT.replace("batch_size = 64", "batch_size = 200"),
    command="grokfast sweep fig16 --size laptop",
    draw=_draw,
)

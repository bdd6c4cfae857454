"""Figure 17: compressibility against every other measure of the end model, Ising."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec
from grokfast.figures.scatter import scatter_figure
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return scatter_figure(runs, "weight decay 0.1")


SPEC = FigureSpec(
    name="fig17",
    title="compressibility against losses, Gini coefficients and features, Ising",
    condition=ISING_TEXT,
    command=ISING_COMMAND,
    draw=_draw,
)

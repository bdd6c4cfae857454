"""Figure 9: learning times, end accuracies and end losses of every seed of the Ising task, by w0."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.fig10 import draw_by_seed
from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return draw_by_seed(runs)


SPEC = FigureSpec(
    name="fig09",
    title="learning times, end accuracies and end losses of every seed of the Ising task, by w0",
    condition=ISING_TEXT + " AND t_train IS NOT NULL",
    command=ISING_COMMAND,
    draw=_draw,
)

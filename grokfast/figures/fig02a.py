"""Figure 2a: accuracy and loss of the Ising task against epoch, one colour per w0."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec
from grokfast.figures.training_curves import draw_training
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return draw_training(runs, "Ising phases", 0.4)


SPEC = FigureSpec(
    name="fig02a",
    title="accuracy and loss of the Ising task against epoch, by w0",
    condition=ISING_TEXT,
    command=ISING_COMMAND,
    draw=_draw,
)

"""Figure 2b: accuracy and loss of modular addition against epoch, one colour per w0."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import MAIN_COMMAND, MAIN_TEXT, FigureSpec
from grokfast.figures.training_curves import draw_training
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return draw_training(runs, "Modular addition", -0.02)


SPEC = FigureSpec(
    name="fig02b",
    title="accuracy and loss of modular addition against epoch, by w0",
    condition=MAIN_TEXT,
    command=MAIN_COMMAND,
    draw=_draw,
)

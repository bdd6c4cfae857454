"""Figure 26: magnitude pruning one layer at a time, Ising."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec
from grokfast.figures.schemes import magnitude_layers
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return magnitude_layers(runs)


SPEC = FigureSpec(
    name="fig26",
    title="magnitude pruning of Ising one layer at a time, smallest and largest w0",
    condition=ISING_TEXT,
    command=ISING_COMMAND,
    draw=_draw,
)

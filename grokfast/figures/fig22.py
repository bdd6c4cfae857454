"""Figure 22: Fisher pruning one layer at a time, modular addition, accuracy and loss."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import MAIN_TEXT, FigureSpec
from grokfast.figures.schemes import layer_figure, title_of
from grokfast.pruning import Scheme
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    figure = layer_figure(runs, Scheme.FISHER_LAYERWISE, ("accuracy", "loss"))
    figure.suptitle(f"{title_of(runs)}: Fisher pruning, one layer at a time", fontsize=10)
    return figure


SPEC = FigureSpec(
    name="fig22",
    title="Fisher pruning one layer at a time: modular addition, accuracy and loss",
    condition=MAIN_TEXT,
    command="grokfast sweep fig22 --size laptop",
    draw=_draw,
)

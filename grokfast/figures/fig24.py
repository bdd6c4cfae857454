"""Figure 24: Fisher pruning one layer at a time, Ising, loss."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec
from grokfast.figures.schemes import layer_figure, title_of
from grokfast.pruning import Scheme
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    figure = layer_figure(runs, Scheme.FISHER_LAYERWISE, ("loss",))
    figure.suptitle(f"{title_of(runs)}: Fisher pruning, one layer at a time", fontsize=10)
    return figure


SPEC = FigureSpec(
    name="fig24",
    title="Fisher pruning one layer at a time: Ising, loss",
    condition=ISING_TEXT,
    command=ISING_COMMAND,
    draw=_draw,
)

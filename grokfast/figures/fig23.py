"""Figure 23: Fisher pruning one layer at a time, Ising, accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import ISING_COMMAND, ISING_TEXT, FigureSpec
from grokfast.figures.schemes import layer_figure, title_of
from grokfast.pruning import Scheme
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    figure = layer_figure(runs, Scheme.FISHER_LAYERWISE, ("accuracy",))
    figure.suptitle(f"{title_of(runs)}: Fisher pruning, one layer at a time", fontsize=10)
    return figure


SPEC = FigureSpec(
    name="fig23",
    title="Fisher pruning one layer at a time: Ising, accuracy",
    condition=ISING_TEXT,
    command=ISING_COMMAND,
    draw=_draw,
)

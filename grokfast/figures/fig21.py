"""Figure 21: global Fisher pruning, accuracy and loss against the share pruned, by w0, both tasks."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import ISING_TEXT, MAIN_TEXT, FigureSpec, split_by
from grokfast.figures.schemes import curves_by_w0, title_of
from grokfast.figures.style import new_figure
from grokfast.pruning import Scheme
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    parts = list(split_by(runs, "task").values())
    figure = new_figure(len(parts), 2, width=8.4, height=3.2 * len(parts))
    for row, members in enumerate(parts):
        accuracy, loss = figure.axes[2 * row : 2 * row + 2]
        curves_by_w0(accuracy, members, Scheme.FISHER_GLOBAL)
        curves_by_w0(loss, members, Scheme.FISHER_GLOBAL, loss=True)
        accuracy.set(ylabel="test accuracy", title=f"{title_of(members)}: Fisher pruning, all layers together")
        loss.set_ylabel("test loss [nats]")
        accuracy.legend(title="$w_0$", loc="lower left", ncols=2)
        for axes in (accuracy, loss):
            axes.set_xlabel("share of parameters pruned")
    return figure


SPEC = FigureSpec(
    name="fig21",
    title="global Fisher pruning by w0, of the tasks that the store has",
    condition=f"({MAIN_TEXT}) OR ({ISING_TEXT})",
    command="grokfast sweep fig21 --size laptop",
    draw=_draw,
    apart="task",
)

"""Figure 25: schemes of magnitude pruning at the smallest and the largest w0, both tasks."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import ISING_TEXT, MAIN_TEXT, FigureSpec, split_by
from grokfast.figures.schemes import ends, scheme_curve, title_of
from grokfast.figures.style import GROKKING, LEARNING, NEUTRAL, new_figure
from grokfast.pruning import Scheme
from grokfast.runs import Run, RunTable

_LOOKS = {
    Scheme.LAYERWISE: (LEARNING, "-"),
    Scheme.GLOBAL: (GROKKING, "--"),
    Scheme.GLOBAL_BY_NORM: ("#009E73", "-."),
    Scheme.RANDOM: (NEUTRAL, ":"),
}


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    parts = list(split_by(runs, "task").values())
    columns = max(len(ends(members)) for members in parts)
    figure = new_figure(len(parts), columns, width=4.2 * columns, height=3.2 * len(parts))
    for row, members in enumerate(parts):
        for axes, (w0, group) in zip(figure.axes[columns * row :], ends(members).items(), strict=False):
            for scheme, look in _LOOKS.items():
                c = scheme_curve(axes, group, scheme, color=look[0], linestyle=look[1])
                axes.get_lines()[-1].set_label(f"{scheme.value} ($c$ = {c:.2f})")
            axes.set(title=f"{title_of(group)}, $w_0$ = {w0:g}", xlabel="share of weights pruned")
            axes.legend(loc="lower left", fontsize=7)
        figure.axes[columns * row].set_ylabel("test accuracy")
    return figure


SPEC = FigureSpec(
    name="fig25",
    title="magnitude pruning layerwise, global and global by norm, of the tasks that the store has",
    condition=f"({MAIN_TEXT}) OR ({ISING_TEXT})",
    command="grokfast sweep fig25 --size laptop",
    draw=_draw,
    apart="task",
)

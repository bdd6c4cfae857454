"""Figure 7: dynamics of the Ising task: features, compressibility, accuracy and loss in both regimes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.dynamics import draw_dynamics
from grokfast.figures.fig03 import last_hidden
from grokfast.figures.layer_dynamics import QUANTITIES
from grokfast.figures.registry import ISING_DYNAMICS, ISING_TEXT, FigureSpec
from grokfast.figures.style import FEATURE_COLORS
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    layer = last_hidden(runs[0])
    features = {
        label: (f"{layer}_weighted_{name}", color)
        for (name, label), color in zip(QUANTITIES.items(), FEATURE_COLORS, strict=True)
    }
    return draw_dynamics(runs, features, "weighted mean |r|\n(last hidden layer)")


SPEC = FigureSpec(
    name="fig07",
    title="dynamics of features, compressibility, accuracy and loss in the Ising task, smallest and largest w0",
    condition=ISING_TEXT + " AND compressibility_schedule <> 'last'",
    command=ISING_DYNAMICS,
    draw=_draw,
    minimum_scales=2,
)

"""Figure 6: dynamics of modular addition: mean IPR, compressibility, accuracy and loss in both regimes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.dynamics import draw_dynamics
from grokfast.figures.registry import MAIN_TEXT, FigureSpec
from grokfast.figures.style import FEATURE_COLORS
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    features = {
        "output": ("ipr_output", FEATURE_COLORS[0]),
        "input, both blocks": ("ipr_input", FEATURE_COLORS[1]),
        "input, each block": ("ipr_input_separate", FEATURE_COLORS[2]),
    }
    return draw_dynamics(runs, features, "mean IPR (real basis)")


SPEC = FigureSpec(
    name="fig06",
    title="dynamics of features, compressibility, accuracy and loss in modular addition, smallest and largest w0",
    condition=MAIN_TEXT + " AND compressibility_schedule <> 'last'",
    command="grokfast train modular-addition --w0 0.1 10 --seeds 5 --feature-schedule log:150 "
    "--compressibility-schedule log:80",
    draw=_draw,
    minimum_scales=2,
)

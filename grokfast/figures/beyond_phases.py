"""Regimes over w0, weight decay, batch size and train fraction: question 7 of ``docs/beyond.md``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokfast.figures.regimes import Regime, cells_of
from grokfast.figures.spec import WHOLE, FigureSpec, register_figure
from grokfast.figures.style import FEATURE_COLORS, GROKKING, LEARNING, headline, new_figure
from grokfast.runs import Run

_COLORS = {
    Regime.LEARNS: LEARNING,
    Regime.GROKS: GROKKING,
    Regime.COMPRESSIVE: FEATURE_COLORS[0],
    Regime.NOT_GENERALISED: "#8a8a8a",
    Regime.COLLAPSED: "#222222",
}


def _draw(runs: Sequence[Run]) -> Figure:
    cells = cells_of(runs)
    panels = sorted({place[2:] for place in cells}, key=lambda panel: (-panel[1], panel[0]))
    decays = sorted({place[1] for place in cells})
    rows = {decay: k for k, decay in enumerate(decays)}
    columns = {w0: k for k, w0 in enumerate(sorted({place[0] for place in cells}))}
    width, height = max(2.9 * len(panels) + 1.4, 5.4), 0.62 * len(decays) + 1.6
    figure = new_figure(1, len(panels), width=width, height=height, sharey=True)
    for axes, panel in zip(figure.axes, panels, strict=True):
        for (w0, decay, *beside), cell in cells.items():
            if tuple(beside) != panel:
                continue
            share = cell.votes[cell.regime] / len(cell.runs)
            axes.scatter(columns[w0], rows[decay], s=330, marker="s", color=_tint(cell.regime, share), linewidth=0)
            words = "\n".join(
                format(value, spec)
                for value, spec in ((cell.compressibility, ".1f"), (cell.t_grok, ".0f"))
                if not np.isnan(value)
            )
            axes.annotate(words, (columns[w0], rows[decay]), ha="center", va="center", fontsize="small", color="white")
        axes.set(
            xlabel="$w_0$",
            title=f"batch {panel[0]},\n{100 * panel[1]:g} % for training",
            xlim=(-0.6, len(columns) - 0.4),
            ylim=(-0.7, len(decays) - 0.3),
        )
        axes.set_xticks(list(columns.values()), [f"{w0:g}" for w0 in columns])
        axes.set_axisbelow(True)
    figure.axes[0].set_yticks(list(rows.values()), [f"{decay:g}" for decay in rows])
    figure.axes[0].set_ylabel("weight decay")
    dots = [Line2D([], [], color=color, marker="s", linestyle="") for color in _COLORS.values()]
    figure.legend(dots, [regime.value for regime in _COLORS], loc="outside right upper")
    headline(figure, "Regime by vote of the seeds (faint: split); $c$ above, $t_{grok}$ below")
    return figure


def _tint(regime: Regime, share: float) -> tuple[float, ...]:
    """Paler where the seeds disagree, but never too pale for the white numbers on it."""
    return tuple(value + 0.35 * (1 - share) * (0.6 - value) for value in to_rgb(_COLORS[regime]))


register_figure(
    FigureSpec(
        "beyond_phases",
        "regimes over w0, weight decay, batch size and train fraction",
        _draw,
        ("beyond-phases", "beyond-phases-refined"),
        columns=("end_test_accuracy",),
        apart=WHOLE,
    )
)

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
    width, height = max(2.9 * len(panels) + 1.4, 5.4), 0.62 * len(decays) + 1.6
    figure = new_figure(1, len(panels), width=width, height=height, sharey=True)
    for axes, panel in zip(figure.axes, panels, strict=True):
        for (w0, decay, *beside), cell in cells.items():
            if tuple(beside) != panel:
                continue
            share = cell.votes[cell.regime] / len(cell.runs)
            axes.scatter(w0, rows[decay], s=520, marker="s", color=_tint(cell.regime, share), linewidth=0)
            words = "" if np.isnan(cell.compressibility) else f"{cell.compressibility:.1f}\n{cell.t_grok:.0f}"
            axes.annotate(words, (w0, rows[decay]), ha="center", va="center", fontsize="small", color="white")
        axes.set(
            xscale="log",
            xlabel="$w_0$",
            title=f"batch {panel[0]}, {100 * panel[1]:g} % for training",
            ylim=(-0.7, len(decays) - 0.3),
        )
        axes.margins(x=0.25)
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

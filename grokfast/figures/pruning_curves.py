"""Layerwise pruning curves by w0: figures 5a, 5b, 14 and 18, and the same of any task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.choose import by_scale, split_by, title_of
from grokfast.figures.kept import values_of
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import NEUTRAL, band, new_figure, over_seeds, scale_colors
from grokfast.runs import Run

_SHARE = "share of weights pruned, each layer by itself"


def curves_by_scale(axes: Axes, runs: Sequence[Run]) -> None:
    """Mean pruning curve of each w0 with its band over seeds."""
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    for w0, members in groups.items():
        curves = np.stack([run.arrays["pruning_accuracy"] for run in members])
        label = f"{w0:g}   ($c$ = {values_of(members, 'compressibility').mean():.2f})"
        band(axes, members[0].arrays["pruning_fractions"], curves, color=colors[w0], label=label)


def draw_pruning(runs: Sequence[Run], floor: float = -0.02, chance: float | None = None) -> Figure:
    """One panel.

    Args:
        runs: Runs of one setting.
        floor: Lower end of the accuracy axis.
        chance: Accuracy that gets a thin line.
    """
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    axes.set_label("main")
    _panel(axes, runs, floor)
    if chance is not None:
        axes.axhline(chance, color=NEUTRAL, linewidth=0.7, linestyle=":")
    return figure


def _panel(axes: Axes, runs: Sequence[Run], floor: float = -0.02) -> None:
    curves_by_scale(axes, runs)
    axes.set(xlabel=_SHARE, ylabel="test accuracy", ylim=(floor, 1.04))
    axes.legend(title="$w_0$")
    seeds = max(len(members) for members in by_scale(runs).values())
    axes.set_title(f"{title_of(runs)}, {over_seeds(seeds)}")


def _draw_ising(runs: Sequence[Run]) -> Figure:
    return draw_pruning(runs, 0.4, 0.5)


def _draw_with_line(runs: Sequence[Run]) -> Figure:
    figure = draw_pruning(runs, chance=0.95)
    decay = runs[0].record["config"]["weight_decay"]
    figure.axes[0].set_title(f"{title_of(runs)} at weight decay {decay:g}")
    return figure


def _draw_with_inset(runs: Sequence[Run]) -> Figure:
    """The smallest weight decay; in an inset the next one, where there is one."""
    parts = sorted(split_by(runs, "weight_decay").items(), key=lambda part: float(part[0]))
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    axes.set_label("main")
    _panel(axes, parts[0][1])
    if len(parts) > 1:
        decay, members = parts[1]
        inset = axes.inset_axes((0.12, 0.44, 0.4, 0.42))  # left of where the curves fall
        inset.set_label("inset")
        curves_by_scale(inset, members)
        inset.set_title(f"weight decay {float(decay):g}", fontsize="small")
        inset.tick_params(labelsize="small")
    else:
        axes.set_title(f"{axes.get_title()}\n(no inset: no runs at another weight decay)")
    return figure


def _draw_batches(runs: Sequence[Run]) -> Figure:
    parts = sorted(split_by(runs, "batch_size").items(), key=lambda part: int(part[0]))
    figure = new_figure(1, len(parts), width=3.5 * len(parts), height=3.0)
    for axes, (batch, members) in zip(figure.axes, parts, strict=True):
        curves_by_scale(axes, members)
        axes.set_label(f"batch {batch}")
        axes.set(title=f"batch {batch}", xlabel=_SHARE, ylim=(-0.02, 1.04))
        axes.legend(title="$w_0$")
    figure.axes[0].set_ylabel("test accuracy")
    return figure


_NEEDED = ("pruning_accuracy", "pruning_fractions", "compressibility")

register_figure(FigureSpec("pruning", "pruning curves of any task by w0", draw_pruning, columns=_NEEDED))
register_figure(
    FigureSpec(
        "fig05a",
        "pruning curves of modular addition by w0 (inset, where the store has it: weight decay 3e-4)",
        _draw_with_inset,
        "weight-decays",
        _NEEDED,
        apart="weight_decay",
        paper={"main": (Digitised("fig14a"),), "inset": (Digitised("fig18a"),)},
    )
)
register_figure(FigureSpec("fig05b", "pruning curves of the Ising task by w0", _draw_ising, "ising", _NEEDED))
register_figure(
    FigureSpec(
        "fig14",
        "pruning curves by w0 at batch 64 and 200 (those that the store has)",
        _draw_batches,
        "batch-sizes",
        _NEEDED,
        apart="batch_size",
        paper={"batch 64": (Digitised("fig14a"),), "batch 200": (Digitised("fig14b"),)},
    )
)
register_figure(
    FigureSpec(
        "fig18",
        "pruning curves by w0 at weight decay 3e-4",
        _draw_with_line,
        "strong-decay",
        _NEEDED,
        paper={"main": (Digitised("fig18a"),)},
    )
)

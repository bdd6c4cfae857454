"""Cosines of steps by optimiser and weight decay: question 6 of ``docs/beyond.md``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.choose import scale_of
from grokfast.figures.grouping import values_by
from grokfast.figures.spec import WHOLE, FigureSpec, register_figure
from grokfast.figures.style import FEATURE_COLORS, NEUTRAL, band, headline, new_figure
from grokfast.figures.variants import looked, plateau_of, variants_of
from grokfast.runs import Run

_ROWS = {"cosine": "cosine of consecutive steps $S$", "origin": "origin similarity"}
_METRIC = "softmax_all"
_LOOKS = {
    "Adam, L2 decay": ("#222222", "-"),
    "AdamW": ("#6f6f6f", "--"),
    "no decay": (FEATURE_COLORS[1], "-"),
    "no decay, float64": (FEATURE_COLORS[1], ":"),
    "no decay, StableMax": (FEATURE_COLORS[1], "--"),
    "SGD, L2 decay": (FEATURE_COLORS[0], "-."),
    "10 % label noise": (FEATURE_COLORS[2], "-"),
}


def _draw(runs: Sequence[Run]) -> Figure:
    tasks = values_by(runs, "task")
    figure = new_figure(2, len(tasks), width=3.6 * len(tasks), height=4.8, sharey=True)
    for k, (task, mine) in enumerate(tasks.items()):
        largest = max(scale_of(run) for run in mine)
        variants = variants_of([run for run in mine if scale_of(run) == largest])
        for row, (what, label) in enumerate(_ROWS.items()):
            axes = figure.axes[row * len(tasks) + k]
            for name, members in variants.items():
                _curve(axes, members, f"geometry_{_METRIC}_{what}", name)
            _plateau(axes, variants.get("Adam, L2 decay", []))
            axes.axhline(0, color=NEUTRAL, linewidth=0.6)
            axes.set(ylim=(-1.05, 1.05), xscale="log")
            if row == 0:
                axes.set_title(f"{task}, $w_0$ {largest:g}")
            else:
                axes.set_xlabel("epoch")
            if k == 0:
                axes.set_ylabel(label)
    # A panel has the settings that its task was trained with: the legend has those of all.
    shown = {
        name: handle for axes in figure.axes for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(shown.values(), shown.keys(), loc="outside lower left", ncols=3)
    headline(figure, "Steps in the softmax Fisher's diagonal; grey: plateau with Adam and L2 decay")
    return figure


def _curve(axes: Axes, runs: Sequence[Run], column: str, name: str) -> None:
    seen = [looked(run, column) for run in runs]
    shared = seen[0][0]
    for epochs, _ in seen[1:]:
        shared = np.intersect1d(shared, epochs)
    color, dashes = _LOOKS[name]
    curves = np.stack([values[np.isin(epochs, shared)] for epochs, values in seen])
    band(axes, shared, curves, color=color, linestyle=dashes, label=name, linewidth=1)


def _plateau(axes: Axes, runs: Sequence[Run]) -> None:
    windows = [window for window in map(plateau_of, runs) if window is not None]
    if windows:
        first, last = np.mean(windows, axis=0)
        axes.axvspan(first, last, color="grey", alpha=0.15, linewidth=0)


register_figure(
    FigureSpec(
        "beyond_motion",
        "cosines of steps with and without weight decay",
        _draw,
        "beyond-motion",
        curves=("geometry_softmax_all_cosine", "geometry_softmax_all_origin"),
        apart=WHOLE,
    )
)

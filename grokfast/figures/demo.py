"""The demos' figures: steady learners and a grokker, their features and how much can be pruned."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.choose import by_scale, regime
from grokfast.figures.curves import curve
from grokfast.figures.pruning_curves import curves_by_scale
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import new_figure, scale_colors
from grokfast.runs import Run


def _draw(runs: Sequence[Run], features: Sequence[tuple[str, str]], floor: float) -> tuple[Figure, Axes]:
    """Three panels; ``features`` are columns of the history with their dashes."""
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    figure = new_figure(1, 3, width=7.2, height=3.0)
    accuracy, feature, pruning = figure.axes
    for w0, members in groups.items():
        for split, dashes in (("train", "--"), ("test", "-")):
            curve(accuracy, members, f"{split}_accuracy", color=colors[w0], linestyle=dashes)
        for k, (name, dashes) in enumerate(features):
            label = f"$w_0$ = {w0:g}: {regime(members)}" if k == 0 else None
            curve(feature, members, name, color=colors[w0], linestyle=dashes, marker=".", markersize=3, label=label)
    curves_by_scale(pruning, runs)
    accuracy.set(xlabel="epoch", ylabel="accuracy", xscale="log", ylim=(floor, 1.04), title="train dashed, test solid")
    feature.set(xlabel="epoch", xscale="log")
    pruning.set(xlabel="share pruned, each layer by itself", ylabel="test accuracy", title="compressibility")
    # Both say the same colours: one legend below, with the regime and c of each.
    regimes = feature.get_legend_handles_labels()[1]
    lines, sizes = pruning.get_legend_handles_labels()
    words = [f"{found}, {label.split('   ')[1].strip('()')}" for found, label in zip(regimes, sizes, strict=True)]
    figure.legend(lines, words, loc="outside lower center", ncols=min(len(lines), 4))
    return figure, feature


def _draw_modular(runs: Sequence[Run]) -> Figure:
    figure, feature = _draw(runs, [("ipr_output", "-")], -0.02)
    feature.set(ylabel="mean IPR of the output weights", title="features")
    return figure


def _draw_ising(runs: Sequence[Run]) -> Figure:
    figure, feature = _draw(runs, [("hidden_mean_energy", "-"), ("hidden_mean_abs_magnetization", ":")], 0.4)
    feature.set(ylabel="mean |r| of the hidden layer", ylim=(0, 1.02), title="features: energy solid, |M| dotted")
    return figure


_SHOWN = "accuracies, features and pruning curves"
_PRUNING = ("pruning_accuracy", "compressibility")

register_figure(
    FigureSpec("demo", f"{_SHOWN} of modular addition by w0", _draw_modular, columns=_PRUNING, curves=("ipr_output",))
)
register_figure(
    FigureSpec(
        "demo-ising",
        f"{_SHOWN} of the Ising task by w0",
        _draw_ising,
        columns=_PRUNING,
        curves=("hidden_mean_energy", "hidden_mean_abs_magnetization"),
    )
)

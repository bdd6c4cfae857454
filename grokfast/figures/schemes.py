"""Schemes of pruning stored end models: figures 21 to 27."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokfast.endmodel import curve_name, kept_pruning, layers
from grokfast.figures.choose import by_scale, ends, split_by, task_of, title_of
from grokfast.figures.curves import loss_label
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import (
    FEATURE_COLORS,
    GROKKING,
    LEARNING,
    NEUTRAL,
    band,
    headline,
    new_figure,
    scale_colors,
    scale_legend,
)
from grokfast.pruning import Scheme, layers_of, weight_names
from grokfast.runs import Run
from grokfast.tasks import fresh_module

_LOOKS = {
    Scheme.LAYERWISE: (FEATURE_COLORS[0], "-"),
    Scheme.GLOBAL: (FEATURE_COLORS[1], "--"),
    Scheme.GLOBAL_BY_NORM: (FEATURE_COLORS[2], "-."),
    Scheme.RANDOM: (NEUTRAL, ":"),
}


def layer_title(run: Run, layer: str) -> str:
    """``layer 1 (512x226)``: which layer of the network, and the shape of its weights."""
    params = dict(fresh_module(run.config.task).named_parameters())
    (name, *_) = layers_of(weight_names(params, stacked=False))[layer]
    return f"layer {layers(run).index(layer) + 1} ({'×'.join(map(str, params[name].shape))})"


def scheme_curve(
    axes: Axes, members: Sequence[Run], scheme: Scheme, layer: str | None = None, *, loss: bool = False, **line: object
) -> float:
    """Mean curve of one w0 with its band over seeds; returns the mean compressibility."""
    curves = [kept_pruning(run, scheme, layer) for run in members]
    values = np.stack([(curve.loss if loss else curve.accuracy).numpy() for curve in curves])  # type: ignore[union-attr]
    band(axes, curves[0].fractions.numpy(), values, geometric=loss, **line)
    return float(np.mean([curve.compressibility.item() for curve in curves]))


def curves_by_w0(
    axes: Axes, runs: Sequence[Run], scheme: Scheme, layer: str | None = None, *, loss: bool = False
) -> None:
    """A curve for every w0."""
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    for w0, members in groups.items():
        scheme_curve(axes, members, scheme, layer, loss=loss, color=colors[w0], label=f"{w0:g}")
    if loss:
        # Networks that are sure of a wrong answer pay far more than those that know nothing.
        axes.set_yscale("log")


def _one_layer_at_a_time(runs: Sequence[Run], quantities: Sequence[str]) -> Figure:
    """Fisher pruning: a column for each layer, a row for each quantity (accuracy, loss), colours for w0."""
    names = layers(runs[0])
    figure = new_figure(len(quantities), len(names), width=3.1 * len(names) + 0.8, height=2.3 * len(quantities) + 0.4)
    for k, axes in enumerate(figure.axes):
        quantity, layer = quantities[k // len(names)], names[k % len(names)]
        curves_by_w0(axes, runs, Scheme.FISHER_LAYERWISE, layer, loss=quantity == "loss")
        if k < len(names):
            axes.set_title(layer_title(runs[0], layer))
        axes.set_xlabel("share of the layer pruned" if k >= len(figure.axes) - len(names) else "")
        label = loss_label(runs, "test", short=True) if quantity == "loss" else f"test {quantity}"
        axes.set_ylabel(label if k % len(names) == 0 else "")
    scale_legend(figure, scale_colors(list(by_scale(runs))))
    headline(figure, f"{title_of(runs)}: Fisher pruning, one layer at a time")
    return figure


def _draw_both(runs: Sequence[Run]) -> Figure:
    return _one_layer_at_a_time(runs, ("accuracy", "loss"))


def _draw_accuracy(runs: Sequence[Run]) -> Figure:
    return _one_layer_at_a_time(runs, ("accuracy",))


def _draw_loss(runs: Sequence[Run]) -> Figure:
    return _one_layer_at_a_time(runs, ("loss",))


def _draw_magnitude(runs: Sequence[Run]) -> Figure:
    """Magnitude pruning one layer at a time, at the smallest and the largest w0."""
    names = layers(runs[0])
    figure = new_figure(1, len(names), width=3.1 * len(names) + 0.8, height=2.6)
    for axes, layer in zip(figure.axes, names, strict=True):
        for (w0, members), color in zip(ends(runs).items(), (LEARNING, GROKKING), strict=False):
            scheme_curve(axes, members, Scheme.LAYERWISE, layer, color=color, label=f"$w_0$ = {w0:g}")
        axes.set(title=layer_title(runs[0], layer), xlabel="share of the layer pruned")
    figure.axes[0].set_ylabel("test accuracy")
    figure.axes[0].legend()
    headline(figure, f"{title_of(runs)}: magnitude pruning, one layer at a time")
    return figure


def _draw_global_fisher(runs: Sequence[Run]) -> Figure:
    """Accuracy and loss, a row for each task."""
    parts = list(split_by(runs, "task").values())
    figure = new_figure(len(parts), 2, width=7.2, height=2.9 * len(parts))
    for row, members in enumerate(parts):
        accuracy, loss = figure.axes[2 * row : 2 * row + 2]
        accuracy.set_label(f"{task_of(members[0])} accuracy")
        curves_by_w0(accuracy, members, Scheme.FISHER_GLOBAL)
        curves_by_w0(loss, members, Scheme.FISHER_GLOBAL, loss=True)
        accuracy.set(ylabel="test accuracy", title=f"{title_of(members)}: Fisher pruning,\nall layers together")
        loss.set_ylabel(loss_label(members, "test", short=True))
        for axes in (accuracy, loss):
            axes.set_xlabel("share of parameters pruned")
        # Beside its row, since tasks have their own scales.
        loss.legend(*accuracy.get_legend_handles_labels(), title="$w_0$", loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def _draw_schemes(runs: Sequence[Run]) -> Figure:
    """A row for each task, a column for the smallest and the largest w0."""
    parts = list(split_by(runs, "task").values())
    columns = max(len(ends(members)) for members in parts)
    figure = new_figure(len(parts), columns, width=3.6 * columns, height=2.9 * len(parts))
    for row, members in enumerate(parts):
        panels = figure.axes[columns * row : columns * (row + 1)]
        for axes, (w0, group) in zip(panels, ends(members).items(), strict=False):
            sizes = []
            for scheme, look in _LOOKS.items():
                c = scheme_curve(axes, group, scheme, color=look[0], linestyle=look[1])
                axes.get_lines()[-1].set_label(f"{scheme.value} ($c$ = {c:.2f})")
                sizes.append(f"{c:.2f}")
            title = f"{title_of(group)}, $w_0$ = {w0:g}\n$c$ = {', '.join(sizes)}"
            axes.set(title=title, xlabel="share of weights pruned")
        panels[0].set_ylabel("test accuracy")
        for axes in panels[len(ends(members)) :]:
            axes.set_axis_off()
    lines = [Line2D([], [], color=color, linestyle=dashes) for color, dashes in _LOOKS.values()]  # type: ignore[arg-type]
    figure.legend(lines, [scheme.value for scheme in _LOOKS], loc="outside lower left", ncols=len(_LOOKS))
    return figure


_TASKS = ("main-text", "ising")
_BOTH_TASKS = "of the tasks that the store has"
_BY_LAYER = (curve_name(Scheme.FISHER_LAYERWISE),)

register_figure(
    FigureSpec(
        "fig21",
        f"global Fisher pruning by w0, {_BOTH_TASKS}",
        _draw_global_fisher,
        _TASKS,
        kept=(curve_name(Scheme.FISHER_GLOBAL),),
        apart="task",
        paper={"ising accuracy": (Digitised("fig21a"),)},
    )
)
for _name, _study, _what, _draw in (
    ("fig22", "main-text", "modular addition, accuracy and loss", _draw_both),
    ("fig23", "ising", "Ising, accuracy", _draw_accuracy),
    ("fig24", "ising", "Ising, loss", _draw_loss),
):
    register_figure(FigureSpec(_name, f"Fisher pruning one layer at a time: {_what}", _draw, _study, kept=_BY_LAYER))
register_figure(
    FigureSpec(
        "fig25",
        f"magnitude pruning layerwise, global and global by norm, {_BOTH_TASKS}",
        _draw_schemes,
        ("main-text-ends", "ising"),
        kept=tuple(curve_name(scheme) for scheme in _LOOKS),
        apart="task",
    )
)
for _name, _study, _what in (("fig26", "ising", "Ising"), ("fig27", "main-text-ends", "modular addition")):
    register_figure(
        FigureSpec(
            _name,
            f"magnitude pruning of {_what} one layer at a time, smallest and largest w0",
            _draw_magnitude,
            _study,
            kept=(curve_name(Scheme.LAYERWISE),),
        )
    )

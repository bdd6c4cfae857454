"""What the figures of pruning share: curves of a scheme by w0, and names of layers and tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.endmodel import end_pruning, layers
from grokfast.figures.registry import by_scale
from grokfast.figures.style import GROKKING, LEARNING, band, new_figure, scale_colors
from grokfast.pruning import Scheme
from grokfast.runs import Run

TITLES = {"modular-addition": "Modular addition", "ising": "Ising"}


def title_of(runs: Sequence[Run]) -> str:
    """The task's name as a title."""
    name = runs[0].config.task.name
    return TITLES.get(name, name)


def layer_title(run: Run, layer: str) -> str:
    """``layer 1 (512x226)``: which layer of the network, and the shape of its weights."""
    shape = run.config.task.module().state_dict()[f"{layer}.weight"].shape
    return f"layer {layers(run).index(layer) + 1} ({'×'.join(map(str, shape))})"


def ends(runs: Sequence[Run]) -> dict[float, list[Run]]:
    """Runs of the smallest and the largest w0, which stand for the two regimes."""
    groups = by_scale(runs)
    return {w0: groups[w0] for w0 in dict.fromkeys((min(groups), max(groups)))}


def scheme_curve(
    axes: Axes, members: Sequence[Run], scheme: Scheme, layer: str | None = None, *, loss: bool = False, **line: object
) -> float:
    """Mean curve of one w0 with its band over seeds; returns the mean compressibility."""
    curves = [end_pruning(run, scheme, layer) for run in members]
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


def layer_figure(runs: Sequence[Run], scheme: Scheme, quantities: Sequence[str]) -> Figure:
    """One layer at a time: a column for each layer, a row for each quantity (accuracy, loss), colours for w0."""
    names = layers(runs[0])
    figure = new_figure(len(quantities), len(names), width=3.1 * len(names) + 0.8, height=2.7 * len(quantities) + 0.4)
    for k, axes in enumerate(figure.axes):
        quantity, layer = quantities[k // len(names)], names[k % len(names)]
        curves_by_w0(axes, runs, scheme, layer, loss=quantity == "loss")
        if k < len(names):
            axes.set_title(layer_title(runs[0], layer))
        axes.set_xlabel("share of the layer pruned" if k >= len(figure.axes) - len(names) else "")
        unit = " [nats]" if quantity == "loss" else ""
        axes.set_ylabel(f"test {quantity}{unit}" if k % len(names) == 0 else "")
    figure.axes[0].legend(title="$w_0$", loc="lower left", ncols=2 if len(by_scale(runs)) > 4 else 1)
    return figure


def magnitude_layers(runs: Sequence[Run]) -> Figure:
    """Magnitude pruning one layer at a time, at the smallest and the largest w0."""
    names = layers(runs[0])
    figure = new_figure(1, len(names), width=3.1 * len(names) + 0.8, height=3.1)
    for axes, layer in zip(figure.axes, names, strict=True):
        for (w0, members), color in zip(ends(runs).items(), (LEARNING, GROKKING), strict=False):
            scheme_curve(axes, members, Scheme.LAYERWISE, layer, color=color, label=f"$w_0$ = {w0:g}")
        axes.set(title=layer_title(runs[0], layer), xlabel="share of the layer pruned")
    figure.axes[0].set_ylabel("test accuracy")
    figure.axes[0].legend(loc="lower left")
    figure.suptitle(f"{title_of(runs)}: magnitude pruning, one layer at a time", fontsize=10)
    return figure

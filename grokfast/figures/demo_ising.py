"""The Ising demo's figure: a steady learner and a grokker, their features and how much can be pruned."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.curves import curve
from grokfast.figures.fig05a import curves_by_scale
from grokfast.figures.registry import FigureSpec, by_scale, regime
from grokfast.figures.style import new_figure, scale_colors
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    figure = new_figure(1, 3, width=11, height=3.4)
    accuracy, feature, pruning = figure.axes
    for w0, members in groups.items():
        for split, dashes in (("train", "--"), ("test", "-")):
            curve(accuracy, members, f"{split}_accuracy", color=colors[w0], linestyle=dashes)
        for quantity, dashes in (("energy", "-"), ("abs_magnetization", ":")):
            label = f"$w_0$ = {w0:g}: {regime(members)}" if quantity == "energy" else None
            curve(feature, members, f"hidden_mean_{quantity}", color=colors[w0], linestyle=dashes, label=label)
    curves_by_scale(pruning, runs)
    accuracy.set(xlabel="epoch", ylabel="accuracy", xscale="log", ylim=(0.4, 1.02), title="train dashed, test solid")
    feature.set(xlabel="epoch", ylabel="mean |r| of the hidden layer", xscale="log", ylim=(0, 1.02))
    feature.set_title("features: energy solid, |M| dotted")
    feature.legend(loc="upper left")
    pruning.set(xlabel="share of weights pruned, each layer", ylabel="test accuracy", title="compressibility")
    pruning.legend(title="$w_0$", loc="lower left")
    return figure


SPEC = FigureSpec(
    name="demo-ising",
    title="accuracies, features and pruning curves of the Ising task by w0",
    condition="task = 'ising' AND status = 'finished'",
    command="grokfast demo --task ising",
    draw=_draw,
)

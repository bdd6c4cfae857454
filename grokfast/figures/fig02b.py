"""Figure 2b: accuracy and loss of modular addition against epoch, one colour per w0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokfast.figures.registry import MAIN_COMMAND, MAIN_TEXT, FigureSpec, by_scale
from grokfast.figures.style import NEUTRAL, band, new_figure, scale_colors
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    figure = new_figure(2, 1, height=5.2, sharex=True)
    accuracy, loss = figure.axes
    for w0, members in groups.items():
        epochs = members[0].history["epoch"]
        for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
            for split, dashes in (("train", "--"), ("test", "-")):
                curves = np.stack([run.history[f"{split}_{metric}"] for run in members])
                label = f"{w0:g}" if metric == "accuracy" and split == "test" else None
                band(axes, epochs, curves, color=colors[w0], linestyle=dashes, label=label)
    accuracy.set(ylabel="accuracy", xscale="log", ylim=(-0.02, 1.04))
    loss.set(ylabel="cross entropy [nats]", xlabel="epoch", yscale="log")
    first = accuracy.legend(title="$w_0$", loc="upper left", ncols=2)
    accuracy.add_artist(first)
    styles = [Line2D([], [], color=NEUTRAL, linestyle=dashes) for dashes in ("--", "-")]
    loss.legend(styles, ["train (running)", "test"], loc="lower left")
    seeds = max(len(members) for members in groups.values())
    figure.suptitle(f"Modular addition: mean and standard deviation over {seeds} seed{'s' if seeds > 1 else ''}")
    return figure


SPEC = FigureSpec(
    name="fig02b",
    title="accuracy and loss of modular addition against epoch, by w0",
    condition=MAIN_TEXT,
    command=MAIN_COMMAND,
    draw=_draw,
)

"""CKA of pairs of end models within and between regimes: question 5 of ``docs/beyond.md``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from grokfast.errors import MissingRunsError
from grokfast.figures.alignment import alignment_of, paper_ising, regimes
from grokfast.figures.grouping import having
from grokfast.figures.spec import WHOLE, FigureSpec, register_figure
from grokfast.figures.style import GROKKING, LEARNING, NEUTRAL, new_figure
from grokfast.runs import Run


def _draw(runs: Sequence[Run]) -> Figure:
    panels = {
        "modular addition": regimes(
            having(runs, task="modular-addition", optimizer="adam", noise=0.0, weight_decay=3e-5, epochs=_longest(runs))
        ),
        "Ising": regimes(paper_ising(runs)),
        "control a·b mod P": regimes(having(runs, task="modular")),
    }
    panels = {task: members for task, members in panels.items() if members}
    if not panels:
        raise MissingRunsError("beyond_features needs runs of both regimes at weight decay 3e-5, or of the Ising task")
    figure = new_figure(1, len(panels), width=3.4 * len(panels) + 0.6, height=3.2, sharey=True)
    for axes, (task, members) in zip(figure.axes, panels.items(), strict=True):
        found = alignment_of(members)
        low, high = found.groups
        labels = {f"$w_0$ {low}": (0, 0), f"$w_0$ {high}": (1, 1), "between": (0, 1)}
        for k, (which, color) in enumerate(zip(labels.values(), (LEARNING, GROKKING, NEUTRAL), strict=True)):
            values = found.pairs(*which)
            axes.scatter(k + np.linspace(-0.15, 0.15, values.size), values, s=10, alpha=0.7, color=color, linewidth=0)
            axes.hlines(values.mean(), k - 0.25, k + 0.25, color=color)
        axes.set_xticks(range(3), list(labels))
        axes.set_title(f"{task}\nwithin − between\n{found.interval():.3f}")
    figure.axes[0].set_ylabel("debiased CKA of the last hidden layers")
    return figure


def _longest(runs: Sequence[Run]) -> int:
    """Epochs of the runs of modular addition whose end models are compared: the longest there are."""
    epochs = [run.record["config"]["epochs"] for run in having(runs, task="modular-addition")]
    return max(epochs, default=0)


register_figure(
    FigureSpec(
        "beyond_features",
        "CKA of pairs of end models, within and between regimes",
        _draw,
        ("beyond-ends", "beyond-motion", "beyond-control"),
        columns=("compressibility",),
        apart=WHOLE,
    )
)

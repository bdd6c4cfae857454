"""Shares of runs that learn and that grok by train fraction: question 1 of ``docs/beyond.md``."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.choose import by_scale
from grokfast.figures.grouping import values_by
from grokfast.figures.shares import largest_shares, outcome_of
from grokfast.figures.spec import WHOLE, FigureSpec, register_figure
from grokfast.figures.style import NEUTRAL, new_figure, scale_colors, scale_legend
from grokfast.runs import Run

_PARTS = {"learns": "generalises and learns", "groks": "generalises and groks"}


def _draw(runs: Sequence[Run]) -> Figure:
    tasks = values_by(runs, "task_words")
    figure = new_figure(len(tasks), 2, width=7.4, height=2.6 * len(tasks), sharey=True)
    colors = scale_colors(sorted(by_scale(runs)))
    for row, (task, mine) in enumerate(tasks.items()):
        fractions = values_by(mine, "task_train_fraction")
        for k, (outcome, label) in enumerate(_PARTS.items()):
            axes = figure.axes[2 * row + k]
            for w0, color in colors.items():
                groups = {f: by_scale(members).get(w0, []) for f, members in fractions.items()}
                shares = {
                    f: sum(outcome_of(run) == outcome for run in members) / len(members)
                    for f, members in groups.items()
                    if members
                }
                axes.plot(list(shares), list(shares.values()), "o-", color=color, markersize=3, label=f"{w0:g}")
            best = {f: largest_shares(members)[k] for f, members in fractions.items()}
            low, high = [b.low for b in best.values()], [b.high for b in best.values()]
            axes.vlines(list(best), low, high, color=NEUTRAL, alpha=0.3, linewidth=5)
            axes.axhline(0.5, color=NEUTRAL, linewidth=0.6, linestyle=":")
            axes.set(title=f"{task}: {label}", xlabel="train fraction", xlim=(0, 1), ylim=(-0.03, 1.03))
    figure.axes[0].set_ylabel("share of seeds")
    scale_legend(figure, colors, "o")
    return figure


register_figure(
    FigureSpec(
        "beyond_only",
        "shares of runs that learn and that grok, by train fraction and w0",
        _draw,
        "beyond-only",
        columns=("end_test_accuracy",),
        apart=WHOLE,
    )
)

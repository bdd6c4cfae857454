"""Learning times, end accuracies and end losses of every seed, by w0: figures 9 and 10."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.choose import by_scale, scale_of, title_of
from grokfast.figures.curves import loss_label
from grokfast.figures.kept import still_rising, values_of
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import FEATURE_COLORS, NEUTRAL, headline, new_figure
from grokfast.runs import Run

_TIMES = (
    ("t_train", FEATURE_COLORS[0], "o", "$t_{train}$"),
    ("t_test", FEATURE_COLORS[1], "s", "$t_{test}$"),
    ("t_grok", NEUTRAL, "^", "$t_{grok}$"),
)
AS_TIMES = frozenset(name for name, *_ in _TIMES)
"""Columns of the summary that are learning times."""

_SPLITS = (("train", FEATURE_COLORS[0], "o"), ("test", FEATURE_COLORS[1], "s"))


def _scatter(axes: Axes, runs: Sequence[Run], name: str, color: str, marker: str, label: str) -> None:
    """Every seed as a point, the mean as a line with bars over the range of the seeds.

    Times of runs that still rise are hollow, and no part of either.
    """
    rising = [run for run in runs if name in AS_TIMES and still_rising(run)]
    known = [run for run in runs if run not in rising]
    scales = [scale_of(run) for run in known]
    axes.scatter(scales, values_of(known, name), color=color, marker=marker, s=6, alpha=0.5, linewidth=0)
    if rising:
        at, least = [scale_of(run) for run in rising], [run.summary[name] for run in rising]
        axes.scatter(at, least, facecolors="none", edgecolors=color, marker=marker, s=18, linewidth=0.8)
    groups = by_scale(known)
    values = [values_of(members, name) for members in groups.values()]
    means = [found.mean() for found in values]
    axes.plot(list(groups), means, color=color, marker=marker, markersize=3, label=label)
    for w0, found in zip(groups, values, strict=True):
        axes.vlines(w0, found.min(), found.max(), color=color, linewidth=0.9)


def _draw(runs: Sequence[Run]) -> Figure:
    figure = new_figure(1, 3, width=7.2, height=2.8)
    times, accuracy, loss = figure.axes
    for axes, name in ((times, "times"), (accuracy, "accuracy"), (loss, "loss")):
        axes.set_label(name)
    for name, color, marker, label in _TIMES:
        _scatter(times, runs, name, color, marker, label)
    for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
        for split, color, marker in _SPLITS:
            _scatter(axes, runs, f"end_{split}_{metric}", color, marker, split)
    rising = any(map(still_rising, runs))
    times.set(ylabel="epochs", title="learning times" + (" (hollow: at least)" if rising else ""))
    accuracy.set(ylabel="accuracy", title="at the last epoch", ylim=(min(0.9, *accuracy.get_ylim()), 1.005))
    loss.set(ylabel=loss_label(runs), yscale="log", title="at the last epoch")
    for axes in figure.axes:
        axes.set(xscale="log", xlabel="$w_0$")
    names = ["$t_{train}$, train", "$t_{test}$, test", "$t_{grok}$"]
    figure.legend(times.get_legend_handles_labels()[0], names, loc="outside lower left", ncols=3)
    headline(figure, f"{title_of(runs)}: a small point a seed, the line their mean, bars their range")
    return figure


NEEDED = tuple(name for name, *_ in _TIMES) + tuple(
    f"end_{split}_{metric}" for metric in ("accuracy", "loss") for split, *_ in _SPLITS
)
"""Columns of the summary that both figures show."""

_ISING = {
    "times": (Digitised("fig09c"), Digitised("fig09d")),
    "accuracy": (Digitised("fig09a", factor=0.01),),
    "loss": (Digitised("fig09b"), Digitised("fig09b_seeds", points=True)),
}
_MODULAR = {
    "times": (Digitised("fig10c"), Digitised("fig10d")),
    "accuracy": (Digitised("fig10a"),),
    "loss": (Digitised("fig10b"),),
}
_SHOWN = "learning times, end accuracies and end losses of every seed"

register_figure(FigureSpec("fig09", f"{_SHOWN} of the Ising task, by w0", _draw, "ising", NEEDED, paper=_ISING))
register_figure(FigureSpec("fig10", f"{_SHOWN}, by w0", _draw, "main-text", NEEDED, paper=_MODULAR))

"""Compressibility against the losses at the end: figures 5c and 5d, and the same of any task."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grokfast.figures.choose import by_scale, regime, title_of
from grokfast.figures.curves import loss_label, loss_unit
from grokfast.figures.kept import values_of
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import draw_fit, headline, new_figure, scale_colors
from grokfast.measures import LinearFit
from grokfast.runs import Run

_C = "compressibility $c$"


def below_onset(runs: Sequence[Run]) -> list[Run]:
    """Runs of the scales w0 below the first from which the majority of seeds grok at every larger one."""
    groups = by_scale(runs)
    chosen: list[Run] = []
    grokking_above = True
    for members in reversed(list(groups.values())):
        grokking_above &= sum(bool(run.summary.get("groks")) for run in members) > len(members) / 2
        if not grokking_above:
            chosen += members
    return chosen


def _points(axes: Axes, runs: Sequence[Run], name: str, round_ones: set[str]) -> None:
    """A point a run: round or, where it is not one of those named, a triangle."""
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    for w0, members in groups.items():
        axes.scatter(
            values_of(members, name),
            values_of(members, "compressibility"),
            color=colors[w0],
            marker="o" if members[0].key in round_ones else "^",
            s=26,
            label=f"{w0:g}",
            edgecolor="white",
            linewidth=0.4,
        )


def _fit(axes: Axes, runs: Sequence[Run], name: str) -> LinearFit | None:
    return draw_fit(axes, values_of(runs, name), values_of(runs, "compressibility"))


def _slope(fit: LinearFit, runs: Sequence[Run]) -> str:
    """Whole numbers where that says enough, with its unit where the loss has one."""
    unit = loss_unit(runs[0])
    shown = format(fit.slope, ".0f" if abs(fit.slope.mean) >= 100 else ".3g")
    return f"{shown} per {unit}" if unit else shown


def _finish(axes: Axes, runs: Sequence[Run], split: str) -> None:
    axes.set_xlabel(f"{loss_label(runs, split)} at the end")
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _draw_below_onset(runs: Sequence[Run]) -> Figure:
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    axes.set_label("main")
    fitted = below_onset(runs)
    _points(axes, runs, "end_train_loss", {run.key for run in fitted})
    fit = _fit(axes, fitted, "end_train_loss")
    if fit is not None:
        axes.set_title(f"below the onset: slope {_slope(fit, fitted)},\n$R^2$ = {fit.r_squared:.2f}, n = {len(fitted)}")
    else:
        axes.set_title("fewer than three runs below the onset: no fit")
    _finish(axes, runs, "train")
    axes.set_ylabel(_C)
    _legend(figure)
    return figure


def _draw_all(runs: Sequence[Run]) -> Figure:
    figure = new_figure(1, 1, width=5.6, height=4.0)
    (axes,) = figure.axes
    _points(axes, runs, "end_train_loss", _not_grokking(runs))
    fit = _fit(axes, runs, "end_train_loss")
    if fit is not None:
        axes.set_title(f"slope {_slope(fit, runs)},\n$R^2$ = {fit.r_squared:.2f}, n = {len(runs)}")
    else:
        axes.set_title("fewer than three different losses: no fit")
    _finish(axes, runs, "train")
    axes.set_ylabel(_C)
    _legend(figure)
    return figure


def _draw_both(runs: Sequence[Run]) -> Figure:
    figure = new_figure(1, 2, width=7.2, height=3.2, sharey=True)
    for axes, split in zip(figure.axes, ("train", "test"), strict=True):
        name = f"end_{split}_loss"
        _points(axes, runs, name, _not_grokking(runs))
        fit = _fit(axes, runs, name)
        found = "too few different\nlosses: no fit"
        axes.set_title(
            found if fit is None else f"slope {_slope(fit, runs)}\n$R^2$ = {fit.r_squared:.2f}", fontsize="small"
        )
        _finish(axes, runs, split)
        # Two panels in a column of 85 mm.
        axes.set_xlabel(textwrap.fill(axes.get_xlabel(), 22))
        axes.xaxis.set_major_locator(MaxNLocator(3))
    figure.axes[0].set_ylabel(_C)
    _legend(figure)
    headline(figure, f"{title_of(runs)}: {len(runs)} runs")
    return figure


def _legend(figure: Figure) -> None:
    """What each point is, beside the panels."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, title="$w_0$\n(▲ groks)", loc="outside right center")


def _not_grokking(runs: Sequence[Run]) -> set[str]:
    return {run.key for members in by_scale(runs).values() if regime(members) != "groks" for run in members}


_NEEDED = ("compressibility", "end_train_loss", "end_test_loss")

register_figure(
    FigureSpec("losses", "compressibility of any task against its losses at the end", _draw_both, columns=_NEEDED)
)
register_figure(
    FigureSpec(
        "fig05c",
        "compressibility against end train loss with a linear fit and its 95 % band below the onset",
        _draw_below_onset,
        "main-text",
        _NEEDED,
        scales=2,
        paper={"main": (Digitised("fig14c", points=True),)},
    )
)
register_figure(
    FigureSpec(
        "fig05d",
        "compressibility of the Ising task against end train loss, with a linear fit and its 95 % band",
        _draw_all,
        "ising",
        _NEEDED,
    )
)

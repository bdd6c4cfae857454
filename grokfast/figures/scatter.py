"""Compressibility against every other measure of the end model: figures 15, 16, 17 and 19, and of any task."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.choose import by_scale, scale_of, task_of, title_of
from grokfast.figures.curves import loss_label
from grokfast.figures.kept import described, measured, values_of
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import draw_fit, headline, new_figure, note, scale_colors, scale_legend
from grokfast.observe import is_llc_diagnostic
from grokfast.runs import Run

LLC = "llc"
"""The local learning coefficient at rho = 0.1, which has its panel whether or not it has been measured."""

_LOSSES = {"end_train_loss": "train", "end_test_loss": "test"}
_COMMON = {
    LLC: r"LLC, $\rho = 0.1$",
    "gini_weights": "Gini of |w|",
    "gini_fisher": "Gini of the Fisher diagonal",
}
_FEATURES = {
    "modular-addition": {"ipr_input": "input IPR", "ipr_output": "output IPR"},
    "ising": {
        "hidden_weighted_energy": r"$\tilde{r}$ of E, hidden layer",
        "hidden_weighted_magnetization": r"$\tilde{r}$ of M, hidden layer",
        "hidden_weighted_abs_magnetization": r"$\tilde{r}$ of |M|, hidden layer",
    },
}
_COLUMNS = 4
_TESTED = 10
_MOST = 24
"""Panels of a figure of all measures, at most."""


def draw_scatter(runs: Sequence[Run], panels: Mapping[str, str]) -> Figure:
    """All panels: one point a run, coloured by w0, with a straight line over all runs and how much it explains.

    Args:
        runs: Of one setting.
        panels: What is on the abscissa, with its label.
    """
    rows = math.ceil(len(panels) / _COLUMNS)
    figure = new_figure(rows, _COLUMNS, width=7.2, height=1.75 * rows + 0.4)
    colors = scale_colors(list(by_scale(runs)))
    grid = list(figure.axes)
    for k, (axes, (name, label)) in enumerate(zip(grid, panels.items(), strict=False)):
        axes.set_label(name)
        _panel(axes, runs, colors, name)
        axes.set_xlabel(label)
        if k % _COLUMNS == 0:
            axes.set_ylabel("compressibility $c$")
    for axes in grid[len(panels) :]:
        axes.remove()
    scale_legend(figure, colors, "o")
    config = runs[0].record["config"]
    setting = f"batch {config['batch_size']}, weight decay {config['weight_decay']:g}"
    headline(figure, f"{title_of(runs)}, {setting}: {len(runs)} runs, last epoch")
    return figure


def _panel(axes: Axes, runs: Sequence[Run], colors: Mapping[float, object], name: str) -> None:
    x, c = values_of(runs, name), values_of(runs, "compressibility")
    known = np.isfinite(x) & np.isfinite(c)
    if not known.any():
        note(axes, "not measured")
        axes.set(xticks=[], yticks=[])
        return
    tones = np.array([colors[scale_of(run)] for run in runs])
    axes.scatter(x[known], c[known], c=tones[known], s=14, edgecolor="white", linewidth=0.3)
    fit = draw_fit(axes, x[known], c[known], alpha=0.15, linewidth=1)
    if fit is not None:
        # Of a handful of runs a p-value says less than their number.
        more = f"p = {fit.p_value:.1g}" if known.sum() >= _TESTED else f"n = {known.sum()}"
        axes.set_title(f"$R^2$ = {fit.r_squared:.2f}, {more}", fontsize="small")
    axes.locator_params(axis="both", nbins=3)


def panels_of(runs: Sequence[Run]) -> dict[str, str]:
    """What the paper's figures of these runs have on their abscissae, with labels."""
    losses = {name: loss_label(runs, split, short=True) for name, split in _LOSSES.items()}
    return {**losses, **_COMMON, **_FEATURES.get(task_of(runs[0]), {})}


def _draw_paper(runs: Sequence[Run]) -> Figure:
    return draw_scatter(runs, panels_of(runs))


def _draw_any(runs: Sequence[Run]) -> Figure:
    panels = every_measure(runs)
    figure = draw_scatter(runs, dict(list(panels.items())[:_MOST]))
    if len(panels) > _MOST:
        headline(figure, f"{figure.get_suptitle()}; {_MOST} of {len(panels)} measures")
    return figure


def every_measure(runs: Sequence[Run]) -> dict[str, str]:
    """The scalars that all runs have and that are not the same in all, with their labels.

    Losses and headline columns stand first. Left out are compressibility itself, what says the same in other words,
    learning times, and diagnostics of the local learning coefficient.
    """
    found = [measured(run) for run in runs]
    declared = described(runs[0])
    apart = ("compressibility", "size_at_", "t_", "groks", "plateau_end")
    names = [name for name in found[0] if not (name.startswith(apart) or is_llc_diagnostic(name))]
    names = [name for name in names if all(name in values for values in found)]
    names = [name for name in names if len({values[name] for values in found}) > 1]
    headlines = [name for name in names if name in declared and declared[name].headline]
    ordered = dict.fromkeys([*(name for name in _LOSSES if name in names), *headlines, *names])
    return {name: _words(declared[name].heading if name in declared else name) for name in ordered}


def _words(name: str) -> str:
    """A column's name in short lines."""
    return textwrap.fill(name.replace("_", " "), 20)


_NEEDED = ("compressibility", *_LOSSES, "gini_weights", "gini_fisher")
_DIGITISED = {
    "fig15": {
        "end_train_loss": (Digitised("fig14c", points=True),),
        "ipr_input": (Digitised("fig15h", points=True),),
    },
    "fig16": {"end_train_loss": (Digitised("fig14d", points=True),)},
}
_TITLE = "compressibility against losses, Gini coefficients and features"

register_figure(
    FigureSpec("measures", "compressibility of any task against all that was measured", _draw_any, columns=_NEEDED[:3])
)
for _name, _study, _what in (
    ("fig15", "main-text", "batch 64"),
    ("fig16", "batch-200", "batch 200"),
    ("fig17", "ising", "Ising"),
    ("fig19", "strong-decay-scatter", "weight decay 3e-4"),
):
    register_figure(
        FigureSpec(_name, f"{_TITLE}, {_what}", _draw_paper, _study, _NEEDED, paper=_DIGITISED.get(_name, {}))
    )

"""Compressibility against every other measure of the end model: the panels of figures 15, 16, 17 and 19."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokfast.endmodel import end_measures
from grokfast.figures.registry import by_scale
from grokfast.figures.schemes import title_of
from grokfast.figures.style import NEUTRAL, draw_fit, new_figure, scale_colors
from grokfast.runs import Run

LLC = "llc"
"""The local learning coefficient, which has its panel whether or not it has been measured."""

_COMMON = {
    "end_train_loss": "train loss [nats]",
    "end_test_loss": "test loss [nats]",
    LLC: "local learning coefficient",
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


def measures_of(runs: Sequence[Run], name: str) -> np.ndarray:
    """One measure of every run, from its summary or from its end model; NaN where it was not taken."""
    found = []
    for run in runs:
        value = run.summary.get(name)
        if value is None and name.startswith("gini"):
            value = end_measures(run).get(name)
        found.append(np.nan if value is None else float(value))
    return np.array(found)


def scatter_figure(runs: Sequence[Run], setting: str) -> Figure:
    """All panels: one point a run, coloured by w0, with a straight line over all runs and how much it explains.

    Args:
        runs: Of one setting.
        setting: Named in the title.
    """
    panels = {**_COMMON, **_FEATURES.get(runs[0].config.task.name, {})}
    columns = 4
    figure = new_figure(2, columns, width=11.5, height=5.6)
    groups = by_scale(runs)
    colors = scale_colors(list(groups))
    grid = list(figure.axes)
    for axes, (name, label) in zip(grid, panels.items(), strict=False):
        _panel(axes, groups, colors, name, label)
        if grid.index(axes) % columns == 0:
            axes.set_ylabel("compressibility $c$")
    dots = [Line2D([], [], color=color, marker="o", linestyle="") for color in colors.values()]
    labels = [f"{w0:g}" for w0 in colors]
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.legend(dots, labels, title="$w_0$", loc="outside right center")
    figure.suptitle(f"{title_of(runs)}, {setting}: {len(runs)} runs, last epoch", fontsize=10)
    return figure


def _panel(
    axes: Axes, groups: Mapping[float, list[Run]], colors: Mapping[float, object], name: str, label: str
) -> None:
    axes.set_xlabel(label)
    runs = [run for members in groups.values() for run in members]
    x, c = measures_of(runs, name), measures_of(runs, "compressibility")
    known = np.isfinite(x) & np.isfinite(c)
    if not known.any():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=NEUTRAL)
        axes.set(xticks=[], yticks=[])
        return
    tones = np.array([colors[run.config.w0] for run in runs])
    axes.scatter(x[known], c[known], c=tones[known], s=22, edgecolor="white", linewidth=0.4)
    fit = draw_fit(axes, x[known], c[known], alpha=0.15, linewidth=1)
    if fit is not None:
        axes.set_title(f"$R^2$ = {fit.r_squared:.2f}, p = {fit.p_value:.1g}", fontsize=8)
    axes.locator_params(axis="x", nbins=4)

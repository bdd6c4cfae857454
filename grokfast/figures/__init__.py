"""Figures: the paper's and those of any task, drawn from a store of runs."""

import importlib

from grokfast.figures.choose import Choice, by_scale, choose, ends, scale_of, seed_of, title_of
from grokfast.figures.curves import curve
from grokfast.figures.kept import measured, values_of
from grokfast.figures.listing import draw, draw_all, listing, suggested, suggested_command
from grokfast.figures.spec import FIGURES, FigureSpec, find_figure, register_figure
from grokfast.figures.style import band, new_figure, save, scale_colors

_HOMES = (
    "training_curves",
    "pruning_curves",
    "losses",
    "dynamics",
    "scatter",
    "snapshots",
    "fig03",
    "fig04",
    "fig08",
    "by_seed",
    "neuron_correlations",
    "fig20",
    "schemes",
    "layer_dynamics",
    "fig31",
    "fig32",
    "fig33",
    "fig34",
    "beyond_only",
    "beyond_scatters",
    "beyond_borders",
    "beyond_features",
    "beyond_motion",
    "beyond_phases",
    "demo",
)
"""The modules that register the figures, in the order of the listing."""

for _home in _HOMES:
    importlib.import_module(f"{__name__}.{_home}")

__all__ = [
    "FIGURES",
    "Choice",
    "FigureSpec",
    "band",
    "by_scale",
    "choose",
    "curve",
    "draw",
    "draw_all",
    "ends",
    "find_figure",
    "listing",
    "measured",
    "new_figure",
    "register_figure",
    "save",
    "scale_colors",
    "scale_of",
    "seed_of",
    "suggested",
    "suggested_command",
    "title_of",
    "values_of",
]

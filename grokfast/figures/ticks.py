"""Ticks of logarithmic axes in one style: plain numbers where they are short, powers of ten elsewhere."""

from __future__ import annotations

import math

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogFormatterSciNotation, LogLocator, NullFormatter

from grokfast.figures.overlay import every_axes

_PLAIN = (0.9e-3, 1.1e5)
"""Numbers that are written out."""

_STEPS = (1, 2, 3, 5, 7)
_WIDE, _HALF = 1.9, 0.9  # decades


def tidy_ticks(figure: Figure) -> None:
    """Give every logarithmic axis that has Matplotlib's own ticks ours.

    Args:
        figure: As drawn, with its last limits.
    """
    for axes in every_axes(figure):
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log" and isinstance(axis.get_major_formatter(), LogFormatterSciNotation):
                _tidy(axis)


def _tidy(axis: Axis) -> None:
    low, high = sorted(map(float, axis.get_view_interval()))
    if not 0 < low < high:
        return
    decades = math.log10(high / low)
    steps = (1,) if decades > _WIDE else (1, 2, 5) if decades > _HALF else _STEPS
    axis.set_major_locator(LogLocator(subs=steps, numticks=7))
    plain = _PLAIN[0] < low and high < _PLAIN[1]
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}") if plain else LogFormatterMathtext())
    axis.set_minor_formatter(NullFormatter())

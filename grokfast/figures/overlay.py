"""The paper's own curves, as read from its vector figures, laid over ours in the same axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from grokfast.paper import panels, paper_curves

PAPER = "paper, digitised"
"""What the legend calls these curves."""

PAPER_COLOR = "#8a8a8a"
"""Their grey."""

_EPOCH = "epoch"


@dataclass(frozen=True)
class Digitised:
    """Curves of one of the paper's panels, as they belong on ours.

    Attributes:
        panel: Its name in :mod:`grokfast.paper`: ``fig06c``.
        series: Which of its curves; empty for all.
        factor: What the ordinate is multiplied by, where the units differ.
        ranks: Where it counts parameters from the smallest value and we from the largest: their number. 0 elsewhere.
        points: Whether it shows points.
    """

    panel: str
    series: tuple[str, ...] = ()
    factor: float = 1.0
    ranks: int = 0
    points: bool = False

    def curves(self) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
        """Name, x ``[n]`` and y ``[n]`` of each curve, in our units.

        Raises:
            InputError: If there is no such panel, or no such series.
        """
        found = paper_curves(self.panel)
        for name in self.series or tuple(found):
            x, y = found[name]
            yield name, (self.ranks + 1 - x if self.ranks else x), self.factor * y


Overlays = Mapping[str, tuple[Digitised, ...]]
"""The paper's curves by the label of the axes that they belong on (``axes.set_label``, which is not drawn)."""


def every_axes(figure: Figure) -> list[Axes]:
    """The axes of a figure, insets included."""
    insets = [child for axes in figure.axes for child in axes.child_axes if isinstance(child, Axes)]
    return [*figure.axes, *insets]


def lay_over(figure: Figure, overlays: Overlays) -> list[str]:
    """Draw the paper's curves as thin grey lines, with one legend for all of them.

    Axes keep the span of epochs that our runs have. What cannot stand on a logarithmic axis is left out.

    Args:
        figure: A drawn figure.
        overlays: Which curves go where; labels that no axes have are passed over.

    Returns:
        Names of the panels that were drawn, each once.
    """
    drawn: dict[str, None] = {}
    for axes in every_axes(figure):
        for digitised in overlays.get(str(axes.get_label()), ()):
            _draw(axes, digitised)
            drawn[digitised.panel] = None
    if drawn:
        line = Line2D([], [], color=PAPER_COLOR, linewidth=0.9)
        figure.legend([line], [PAPER], loc="outside lower right")
    return list(drawn)


def _draw(axes: Axes, digitised: Digitised) -> None:
    # A view that shows less than was drawn was chosen, as a zoom: it stays.
    span, chosen = axes.get_xlim(), not axes.get_autoscalex_on()
    over_epochs = panels()[digitised.panel].x == _EPOCH
    epochs = [np.asarray(line.get_xdata(), dtype=np.float64) for line in axes.get_lines()]
    epochs = [values for values in epochs if values.size > 2] or [np.zeros(1)]  # shorter ones mark a place
    first, last = min(map(np.min, epochs)), max(map(np.max, epochs))
    for _, x, y in digitised.curves():
        shown = np.ones(x.size, dtype=bool)
        if over_epochs:
            shown &= (first <= x) & (x <= last)
        for scale, values in ((axes.get_xscale(), x), (axes.get_yscale(), y)):
            if scale == "log":
                shown &= values > 0
        look: Mapping[str, object] = (
            {"linestyle": "", "marker": "+", "markersize": 5, "markeredgewidth": 0.8} if digitised.points else {}
        )
        axes.plot(x[shown], y[shown], color=PAPER_COLOR, **{"linewidth": 0.9, "zorder": 1.5, **look})  # type: ignore[arg-type]
    if chosen:
        axes.set_xlim(span)


def panels_of(overlays: Overlays) -> Sequence[str]:
    """Names of the panels of some overlays, each once, in order."""
    return list(dict.fromkeys(digitised.panel for group in overlays.values() for digitised in group))

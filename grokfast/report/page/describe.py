"""What a drawn figure shows, in numbers: a table, and a text in place of the picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from grokfast.figures.overlay import PAPER, PAPER_COLOR, every_axes

HEADINGS = ("panel", "curve", "first", "smallest", "largest", "last")
"""Columns of the table: of a curve the ordinates, each with its abscissa; of points their spans."""

_SAID = 6  # curves that the text names
_MATHS = {r"\tilde{r}": "r~", r"\nabla": "∇", "$": "", "_{": "_", "}": "", "{": "", "\\": ""}


@dataclass(frozen=True)
class Numbers:
    """One curve or group of points.

    Attributes:
        panel: Title or label of its axes.
        curve: What the legend calls it.
        first: First value, with its abscissa.
        smallest: Smallest value.
        largest: Largest value.
        last: Last value.
    """

    panel: str
    curve: str
    first: str
    smallest: str
    largest: str
    last: str

    @property
    def cells(self) -> tuple[str, ...]:
        """As a row of the table."""
        return self.panel, self.curve, self.first, self.smallest, self.largest, self.last

    @property
    def words(self) -> str:
        """As a sentence."""
        if self.first.startswith("from "):  # points
            return f"{self.panel}: {self.curve} between {self.smallest} and {self.largest}, {self.first} {self.last}."
        return f"{self.panel}: {self.curve} from {self.first} to {self.last}, largest {self.largest}."


def numbers_of(figure: Figure) -> list[Numbers]:
    """Every curve and every group of points of a figure.

    Args:
        figure: As drawn; curves without a legend of their own go by the one of their colour in another panel.
    """
    every = every_axes(figure)
    names = _names(figure, every)
    found: list[Numbers] = []
    for k, axes in enumerate(every):
        panel = plain(axes.get_title()) or plain(axes.get_ylabel()) or f"panel {k + 1}"
        for line in axes.get_lines():
            # Lines that mark a place are given in the axes' own coordinates in one direction.
            points = np.asarray(line.get_xydata(), dtype=np.float64)
            if line.get_transform() == axes.transData and len(points) > 1:
                found.append(_curve(panel, _name(line, names), points))
        for group in axes.collections:
            places = np.asarray(group.get_offsets(), dtype=np.float64)
            if isinstance(group, PathCollection) and len(places):
                found.append(_points(panel, _own(str(group.get_label())) or "points", places))
    return found


def text_of(figure: Figure, title: str) -> str:
    """The figure in a few sentences: what it shows, how many panels, and where its first curves begin and end.

    Args:
        figure: As drawn.
        title: What it shows.
    """
    rows = numbers_of(figure)
    panels = len({id(axes) for axes in every_axes(figure)})
    parts = [f"{title[:1].upper()}{title[1:]}. {panels} panel{'s' if panels > 1 else ''}, {len(rows)} curves."]
    parts += [row.words for row in [row for row in rows if row.curve != PAPER][:_SAID]]
    if len(rows) > _SAID:
        parts.append("All curves are in the table of numbers below.")
    return " ".join(parts)


def plain(text: str) -> str:
    """A label without the mathematics of Matplotlib and on one line."""
    for sign, words in _MATHS.items():
        text = text.replace(sign, words)
    return re.sub(r"\s+", " ", re.sub(r"_(\d)", r"\1", text)).strip()


def _own(label: str) -> str:
    return "" if label.startswith("_") else plain(label)


def _looks(line: Line2D) -> Iterator[tuple[str, str]]:
    """A line's colour with its dashes, and its colour with any."""
    color = to_hex(line.get_color())
    yield color, str(line.get_linestyle())
    yield color, ""


def _names(figure: Figure, every: Sequence[Axes]) -> dict[tuple[str, str], str]:
    """What legends call a look: of the axes, and of the figure."""
    names: dict[tuple[str, str], str] = {}
    legends = [*figure.legends, *(legend for axes in every if (legend := axes.get_legend()))]
    labelled = [
        (handle, text.get_text())
        for legend in legends
        for handle, text in zip(legend.get_lines(), legend.get_texts(), strict=False)
    ]
    labelled += [(line, str(line.get_label())) for axes in every for line in axes.get_lines()]
    for line, text in labelled:
        if _own(text):
            for look in _looks(line):
                names.setdefault(look, _own(text))
    return names


def _name(line: Line2D, names: dict[tuple[str, str], str]) -> str:
    if to_hex(line.get_color()) == PAPER_COLOR:
        return PAPER
    return _own(str(line.get_label())) or next((names[look] for look in _looks(line) if look in names), "curve")


def _curve(panel: str, curve: str, points: NDArray[np.float64]) -> Numbers:
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return Numbers(panel, curve, "-", "-", "-", "-")
    low, high = points[points[:, 1].argmin()], points[points[:, 1].argmax()]
    return Numbers(panel, curve, *(_at(point) for point in (points[0], low, high, points[-1])))


def _points(panel: str, curve: str, points: NDArray[np.float64]) -> Numbers:
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return Numbers(panel, curve, "-", "-", "-", "-")
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    name = f"{curve} ({len(points)} points)"
    return Numbers(panel, name, f"from {x0:.4g}", f"{y0:.4g}", f"{y1:.4g}", f"to {x1:.4g}")


def _at(point: NDArray[np.float64]) -> str:
    return f"{point[1]:.4g} at {point[0]:.4g}"

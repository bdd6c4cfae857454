"""What is wrong with the look of a figure, as a reader of the printed page would say it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from grokfast.figures.overlay import every_axes
from grokfast.figures.style import LEAST_TEXT

INCH = 25.4


def faults(figure: Figure, width: float, least: float = LEAST_TEXT) -> list[str]:
    """Everything that is wrong, in words.

    Args:
        figure: As drawn.
        width: In mm, at most.
        least: Points of the smallest text.
    """
    FigureCanvasAgg(figure)
    figure.canvas.draw()
    return [
        *_size(figure, width),
        *_texts(figure, least),
        *_overlaps(figure),
        *(fault for axes in every_axes(figure) for fault in (*_legend_on_data(axes), *_bands(axes), *_ticks(axes))),
    ]


def _size(figure: Figure, width: float) -> Iterator[str]:
    wide, high = figure.get_size_inches()
    if wide * INCH > width + 0.01:
        yield f"{wide * INCH:.1f} mm wide"
    box = figure.get_tightbbox()
    if box.x0 < -0.02 or box.y0 < -0.02 or box.x1 > wide + 0.02 or box.y1 > high + 0.02:
        yield f"does not fit on its page of {wide:.2f} x {high:.2f} inches: {box.extents.round(2)}"


def _shown(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def _texts(figure: Figure, least: float) -> Iterator[str]:
    for text in _shown(figure):
        if text.get_fontsize() < least - 1e-6:
            yield f"{text.get_text()!r} has {text.get_fontsize():.1f} pt"


def _boxes(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """Titles, labels and legends: what must not lie on each other."""
    for axes in every_axes(figure):
        if not axes.get_visible() or not axes.axison:
            continue
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            if text.get_text().strip() and text.get_visible():
                yield text.get_text(), text.get_window_extent()
        if axes.get_legend():
            yield "legend", axes.get_legend().get_window_extent()
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for at, label in zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=False):
                if label.get_visible() and label.get_text() and low <= at <= high:
                    yield f"tick {label.get_text()}", label.get_window_extent()
    for text in (figure._suptitle, figure._supxlabel):
        if text is not None and text.get_text():
            yield text.get_text(), text.get_window_extent()
    for legend in figure.legends:
        yield "legend of the figure", legend.get_window_extent()


def _overlaps(figure: Figure) -> Iterator[str]:
    # A pixel or two in common is no overlap that one sees, least of all between tick labels at a corner.
    boxes = [(name, box.padded(-1.5)) for name, box in _boxes(figure) if box.width > 3 and box.height > 3]
    for (one, box), (other, second) in itertools.combinations(boxes, 2):
        if box.overlaps(second):
            yield f"{one!r} lies on {other!r}"


def _points(axes: Axes) -> np.ndarray:
    """What is drawn in an axes, in pixels: its curves, close points of them, and its markers."""
    found = [np.empty((0, 2))]
    for line in axes.get_lines():
        if line.get_transform() != axes.transData:
            continue
        at = axes.transData.transform(np.asarray(line.get_xydata(), dtype=float))
        at = at[np.isfinite(at).all(1)]
        if len(at) > 1 and line.get_linestyle() not in ("", "None"):
            share = np.linspace(0, 1, 20)[:, None, None]
            at = (at[None, :-1] * (1 - share) + at[None, 1:] * share).reshape(-1, 2)
        found.append(at)
    for group in axes.collections:
        if isinstance(group, PathCollection):
            found.append(axes.transData.transform(np.ma.filled(group.get_offsets(), np.nan)))
    inside = np.concatenate(found)
    return inside[axes.bbox.padded(1).contains(0, 0) | axes_contains(axes, inside)]


def axes_contains(axes: Axes, points: np.ndarray) -> np.ndarray:
    box = axes.bbox
    return (points[:, 0] >= box.x0) & (points[:, 0] <= box.x1) & (points[:, 1] >= box.y0) & (points[:, 1] <= box.y1)


def _legend_on_data(axes: Axes) -> Iterator[str]:
    if axes.get_legend() is None:
        return
    points = _points(axes)
    for part in (*axes.get_legend().get_texts(), *axes.get_legend().get_lines(), axes.get_legend().get_title()):
        box = part.get_window_extent()
        on = (points > box.min).all(1) & (points < box.max).all(1)
        if on.any():
            yield f"the legend of {axes.get_title() or axes.get_ylabel()!r} lies on {on.sum()} points of data"
            return


def _bands(axes: Axes) -> Iterator[str]:
    for group in axes.collections:
        if not isinstance(group, FillBetweenPolyCollection) or not group.get_paths():
            continue
        edges = group.get_paths()[0].vertices[:, 1]
        if "accuracy" in axes.get_ylabel() and (edges.min() < 0 or edges.max() > 1):
            yield f"a band of accuracies from {edges.min():g} to {edges.max():g}"
        if axes.get_yscale() == "log" and edges.min() <= 0:
            yield "a band that reaches 0 on a logarithmic axis"


def _ticks(axes: Axes) -> Iterator[str]:
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log" and axes.axison:
            low, high = sorted(axis.get_view_interval())
            inside = [at for at in axis.get_majorticklocs() if low <= at <= high]
            if len(inside) < 2:
                yield f"{len(inside)} labelled ticks between {low:g} and {high:g}"

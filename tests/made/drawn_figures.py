"""What a figure shows, read back from Matplotlib's objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D


def lines_of(axes: Axes) -> list[Line2D]:
    """Curves: lines of more than two points or with data coordinates in both directions."""
    return [line for line in axes.get_lines() if line.get_transform() == axes.transData]


def band_edges(axes: Axes, k: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge at ``x`` of the k-th filled band."""
    bands = [c for c in axes.collections if len(c.get_paths()) == 1 and len(c.get_offsets()) <= 1]
    vertices = bands[k].get_paths()[0].vertices
    at = [vertices[np.isclose(vertices[:, 0], position)][:, 1] for position in x]
    return np.array([y.min() for y in at]), np.array([y.max() for y in at])


def assert_curve(
    axes: Axes, k: int, x: Sequence[float], curves: Sequence[Sequence[float]], *, geometric: bool = False
) -> Line2D:
    """The k-th curve of the axes is the mean of ``curves`` with a band from the lowest to the highest."""
    line = lines_of(axes)[k]
    values = np.array(curves, dtype=float)
    middle = values.prod(0) ** (1 / len(values)) if geometric else values.sum(0) / len(values)
    low, high = np.sort(values, 0)[[0, -1]]
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_allclose(line.get_ydata(), middle, rtol=1e-6)
    found = band_edges(axes, k, np.array(x, dtype=float))
    np.testing.assert_allclose(found[0], low, rtol=1e-6)
    np.testing.assert_allclose(found[1], high, rtol=1e-6)
    return line


def points_of(axes: Axes) -> list[np.ndarray]:
    """The scattered points, a collection each, as ``[n, 2]``."""
    return [np.asarray(c.get_offsets()) for c in axes.collections if len(c.get_offsets()) > 1 or c.get_offsets().any()]


def same_color(one: object, other: object) -> bool:
    return np.allclose(to_rgba(one)[:3], to_rgba(other)[:3])  # type: ignore[arg-type]

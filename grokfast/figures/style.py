"""One look for every figure: legible at column width, safe for colour-blind readers, the same in print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from grokfast._figure import ShownFigure
from grokfast.errors import InputError, StoreError
from grokfast.measures import LinearFit, linear_fit

LEARNING, GROKKING, NEUTRAL = "#0072B2", "#D55E00", "#555555"
"""Okabe and Ito's blue and vermillion, and a grey."""

FEATURE_COLORS = ("#009E73", "#CC79A7", "#E69F00")
"""Okabe and Ito's green, purple and orange, for the features that a figure compares."""

_MAP = mpl.colormaps["viridis"].resampled(256)


@contextmanager
def style() -> Iterator[None]:
    """The rc settings of all figures; nothing of a user's own ``matplotlibrc`` reaches them."""
    settings = {
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "figure.dpi": 100,
        "font.size": 9,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.5,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "savefig.bbox": "tight",
        "svg.fonttype": "none",
        "svg.hashsalt": "grokfast",
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)  # type: ignore[arg-type]
        yield


def new_figure(rows: int, columns: int, width: float = 7.2, height: float = 3.0, **options: object) -> Figure:
    """An empty figure of ``rows x columns`` axes, without a window."""
    figure = ShownFigure(figsize=(width, height), layout="constrained")
    figure.subplots(rows, columns, squeeze=False, **options)  # type: ignore[call-overload]
    return figure


def scale_colors(scales: Sequence[float]) -> dict[float, tuple[float, float, float, float]]:
    """A colour for every w0, from dark (small) to light (large) on a logarithmic scale."""
    low, high = min(scales), max(scales)
    if low == high:
        return dict.fromkeys(scales, _MAP(0.3))
    norm = LogNorm(low, high)
    return {w0: _MAP(0.88 * float(norm(w0))) for w0 in scales}


def band(axes: Axes, x: np.ndarray, curves: np.ndarray, *, geometric: bool = False, **line: object) -> None:
    """Mean of ``curves [seeds, len(x)]`` with a band of one standard deviation over seeds (none for one seed).

    With ``geometric`` both are of the logarithms, where all values are positive: on a logarithmic axis a band of a
    deviation as large as the mean has no lower edge otherwise.
    """
    geometric = geometric and bool((curves > 0).all())
    values = np.log(curves) if geometric else curves
    mean = values.mean(0)
    spread = values.std(0, ddof=1) if len(curves) > 1 else np.zeros_like(mean)
    middle, low, high = (np.exp(v) if geometric else v for v in (mean, mean - spread, mean + spread))
    (drawn,) = axes.plot(x, middle, **line)  # type: ignore[arg-type]
    if len(curves) > 1:
        axes.fill_between(x, low, high, color=drawn.get_color(), alpha=0.18, linewidth=0)


def draw_fit(axes: Axes, x: np.ndarray, y: np.ndarray, *, alpha: float = 0.2, **line: object) -> LinearFit | None:
    """A straight line through the points with its 95 % band; None, and nothing drawn, where ``x`` allows no fit."""
    if x.size < 3 or x.min() == x.max():
        return None
    fit = linear_fit(x, y)
    at = np.linspace(x.min(), x.max(), 100)
    middle, low, high = fit.band(at)
    axes.plot(at, middle, color=NEUTRAL, **line)  # type: ignore[arg-type]
    axes.fill_between(at, low, high, color=NEUTRAL, alpha=alpha, linewidth=0)
    return fit


def note(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=NEUTRAL)


FORMATS = ("svg", "png", "pdf", "eps")
"""What figures can be written as."""


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write ``name.svg`` and ``name.png``, or other formats; the same figure gives the same bytes.

    Args:
        figure: The figure.
        folder: Made where it is missing.
        name: Without a suffix.
        formats: Of :data:`FORMATS`.

    Raises:
        InputError: If a format is another one.
        StoreError: If the folder cannot be written.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise InputError(f"a figure's format must be one of {list(FORMATS)}, got {kind!r}")
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    files = [folder / f"{name}.{kind}" for kind in formats]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with style():
            for file, kind in zip(files, formats, strict=True):
                figure.savefig(file, dpi=200 if kind == "png" else "figure", metadata=undated.get(kind))
    except OSError as error:
        raise StoreError(f"figures cannot be written to {folder}: {error.strerror or error}") from error
    return files

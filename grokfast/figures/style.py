"""One look for every figure: legible at print width, safe for colour-blind readers, the same in print and in grey."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from grokfast._figure import ShownFigure
from grokfast.errors import InputError, StoreError
from grokfast.measures import LinearFit, linear_fit

LEARNING, GROKKING, NEUTRAL = "#084081", "#d55e00", "#555555"
"""Dark blue and vermillion for the regimes, the ends of the palette of scales; and a grey."""

FEATURE_COLORS = ("#00664c", "#b5478b", "#b07a00")
"""Green, purple and ochre, for what a figure compares beside regimes: features, splits, schemes."""

FEATURE_MARKERS = ("o", "s", "^")
"""Theirs, for print in grey."""

_PALETTE = LinearSegmentedColormap.from_list("scales", [LEARNING, "#5b3a97", "#a4378a", "#cf4563", GROKKING])

LEAST_TEXT = 6.5
"""Points of the smallest text of a figure for paper."""


@dataclass(frozen=True)
class Size:
    """For what a figure is drawn.

    Attributes:
        width: Its width at most, in mm.
        height: Its height at most, in mm.
        scale: Of text and lines, and of the figure before it is held to width and height.
        columns: Panels beside each other, at most; a figure with more is as wide as a page.
    """

    width: float
    height: float
    scale: float = 1.0
    columns: int = 99


SIZES: Mapping[str, Size] = {
    "page": Size(180, 235),
    "column": Size(85, 235, columns=2),
    "slide": Size(305, 172, scale=1.65),
}
"""Across a page, in one of its two columns, and on a slide."""

_SIZE: ContextVar[str] = ContextVar("size", default="page")  # of the figures that are drawn


@contextmanager
def style(size: str = "page", sheet: str | None = None) -> Iterator[None]:
    """The rc settings of all figures; nothing of a user's own ``matplotlibrc`` reaches them, unless asked for.

    Args:
        size: Of :data:`SIZES`.
        sheet: A style of Matplotlib's, by name or file, on top of ours; ``"matplotlibrc"`` for the user's own settings.

    Raises:
        InputError: If there is no such size, or no such style.
    """
    if size not in SIZES:
        raise InputError(f"a figure's size must be one of {list(SIZES)}, got {size!r}")
    scale = SIZES[size].scale
    settings = {
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 8 * scale,
        "axes.labelsize": 8 * scale,
        "axes.linewidth": 0.7 * scale,
        "axes.formatter.useoffset": False,
        "figure.dpi": 100,
        "figure.titlesize": 9 * scale,
        "font.size": 8 * scale,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.5 * scale,
        "legend.fontsize": 7 * scale,
        "legend.title_fontsize": 7 * scale,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "lines.linewidth": 1.3 * scale,
        "lines.markersize": 6 * scale,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "grokfast",
        "xtick.labelsize": 7 * scale,
        "ytick.labelsize": 7 * scale,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)  # type: ignore[arg-type]
        _wear(sheet)
        before = _SIZE.set(size)
        try:
            yield
        finally:
            _SIZE.reset(before)


def _wear(sheet: str | None) -> None:
    """Put a user's settings on top of ours."""
    if sheet is None:
        return
    try:
        if sheet == "matplotlibrc":
            own = mpl.rc_params_from_file(mpl.matplotlib_fname(), use_default_template=False)
            mpl.rcParams.update({name: value for name, value in own.items() if not name.startswith("backend")})
        else:
            matplotlib.style.use(sheet)
    except OSError as error:
        raise InputError(
            f"there is no style {sheet!r}: expected matplotlibrc, a file or a name of Matplotlib's"
        ) from error


def new_figure(rows: int, columns: int, width: float = 7.2, height: float = 3.0, **options: object) -> Figure:
    """An empty figure of ``rows x columns`` axes, without a window.

    Args:
        rows: Of panels.
        columns: Of panels.
        width: In inches, held to what the size of figures that is drawn allows (:func:`style`).
        height: In inches.
        options: For :meth:`matplotlib.figure.Figure.subplots`.
    """
    size = SIZES[_SIZE.get()]
    size = size if columns <= size.columns else SIZES["page"]
    shrunk = min(1.0, size.width / (25.4 * width * size.scale))
    wide = width * size.scale * shrunk
    # Text does not shrink with a panel: two inches of height are left for it where that is so.
    high = height * size.scale * (1.0 if size.columns > 2 else max(shrunk, min(1.0, 1.9 * rows / height)))
    figure = ShownFigure(figsize=(wide, min(high, size.height / 25.4)), layout="constrained")
    figure.subplots(rows, columns, squeeze=False, **options)  # type: ignore[call-overload]
    return figure


def headline(figure: Figure, text: str) -> None:
    """A title of the whole figure, in lines that fit its width."""
    points = FontProperties(size=mpl.rcParams["figure.titlesize"]).get_size_in_points()
    letters = figure.get_figwidth() * 72 / (0.58 * points)
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, round(letters))]
    figure.suptitle("\n".join(lines))


def scale_colors(scales: Sequence[float]) -> dict[float, tuple[float, float, float, float]]:
    """A colour for every w0, from the blue of learning to the vermillion of grokking, on a logarithmic scale."""
    low, high = min(scales), max(scales)
    if low == high:
        return dict.fromkeys(scales, _PALETTE(0.3))
    norm = LogNorm(low, high)
    return {w0: _PALETTE(float(norm(w0))) for w0 in scales}


def scale_legend(figure: Figure, colors: Mapping[float, object], marker: str = "") -> None:
    """What each colour of a w0 means, beside the panels; lines, or markers where one is given."""
    look = {"marker": marker, "linestyle": ""} if marker else {}
    handles = [Line2D([], [], color=color, **look) for color in colors.values()]  # type: ignore[arg-type]
    figure.legend(handles, [f"{w0:g}" for w0 in colors], title="$w_0$", loc="outside right center")


def over_seeds(count: int, mean: str = "mean") -> str:
    """What a line and its band show: ``mean and range over 5 seeds``; of one seed, that it is one."""
    return f"{mean} and range over {count} seeds" if count > 1 else "1 seed"


_BAND = "_band"  # a name that no legend shows

_OPAQUE = 0.6  # of all bands of a panel where they lie on each other: lines stay to be seen


def band(axes: Axes, x: np.ndarray, curves: np.ndarray, *, geometric: bool = False, **line: object) -> None:
    """Mean of ``curves [seeds, len(x)]`` with a band from the lowest to the highest seed (none for one seed).

    A range holds on every axis: it never leaves what the values can be, as mean ± deviation does of accuracies near 1
    and on a logarithmic axis. With ``geometric`` the mean is of the logarithms, where all values are positive.
    """
    geometric = geometric and bool((curves > 0).all())
    middle = np.exp(np.log(curves).mean(0)) if geometric else curves.mean(0)
    (drawn,) = axes.plot(x, middle, **line)  # type: ignore[arg-type]
    if len(curves) > 1:
        axes.fill_between(x, curves.min(0), curves.max(0), color=drawn.get_color(), linewidth=0, label=_BAND)
        bands = [shape for shape in axes.collections if shape.get_label() == _BAND]
        for shape in bands:
            shape.set_alpha(min(0.2, 1.0 - (1.0 - _OPAQUE) ** (1.0 / len(bands))))


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
        with style():  # a figure of new_figure() has its own settings
            for file, kind in zip(files, formats, strict=True):
                figure.savefig(file, dpi=200 if kind == "png" else "figure", metadata=undated.get(kind))
    except OSError as error:
        raise StoreError(f"figures cannot be written to {folder}: {error.strerror or error}") from error
    return files

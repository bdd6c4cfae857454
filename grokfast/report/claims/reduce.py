"""From a curve to a number: applied to the curves of runs and to the paper's own alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokfast._checks import nearest
from grokfast.errors import InputError
from grokfast.measures import Estimate, linear_fit, mean_interval, zero_crossings

LAST = 0.1
"""The last tenth of the looks is "the end"."""

_FLOOR = 1e-300  # below every Fisher diagonal that is not zero


def peak(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Its largest value."""
    return float(y.max())


def least(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Its smallest value."""
    return float(y.min())


def first(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Its first value."""
    return float(y[0])


def last(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Its last value."""
    return float(y[-1])


def end(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The mean over the last tenth of its looks, by time."""
    last_tenth = slice(-max(1, round(LAST * len(y))), None)
    return mean(x[last_tenth], y[last_tenth])


def at(x: NDArray[np.float64], y: NDArray[np.float64], *, place: float) -> float:
    """Its value at the look that lies nearest to ``place``."""
    return float(y[np.abs(x - place).argmin()])


def mean_until(x: NDArray[np.float64], y: NDArray[np.float64], *, place: float) -> float:
    """Its mean over the looks up to ``place``, the first at least."""
    before = x <= max(place, x[0])
    return mean(x[before], y[before])


def overshoot(x: NDArray[np.float64], y: NDArray[np.float64], *, place: float = 0.0) -> float:
    """Its largest value from ``place`` on over its last one, less 1."""
    return float(y[x >= place].max() / y[-1] - 1)


def where_peak(x: NDArray[np.float64], y: NDArray[np.float64], *, place: float = -np.inf) -> float:
    """Where it is largest, from ``place`` on."""
    after = x >= place
    return float(x[after][y[after].argmax()])


def mean(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Its mean by time: the area under the straight lines between its looks over their span."""
    if len(x) < 2 or x[0] == x[-1]:
        return float(y.mean())
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def mean_x(x: NDArray[np.float64], y: NDArray[np.float64]) -> Estimate:
    """The mean of the abscissae of points, with its interval."""
    return mean_interval(x)


def decade_trend(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The slope per decade of x of a curve that has no scatter."""
    return linear_fit(np.log10(x), y).slope.mean


def compressibility_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Compressibility c = 1 / (1 - area) of a pruning curve, by the trapezoid rule."""
    return float(1 / (1 - ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()))


def share_kept(x: NDArray[np.float64], y: NDArray[np.float64], *, keep: float = 0.95) -> float:
    """The smallest share of weights that keeps ``keep`` of the unpruned accuracy, by straight lines."""
    enough = y >= keep * y[0]
    last_good = int(np.argmin(enough)) - 1 if not enough.all() else len(y) - 1
    if last_good == len(y) - 1:
        return float(1 - x[-1])
    y0, y1 = y[last_good], y[last_good + 1]
    return float(1 - (x[last_good] + (x[last_good + 1] - x[last_good]) * (y0 - keep * y[0]) / (y0 - y1)))


def share_above(x: NDArray[np.float64], y: NDArray[np.float64], *, g: float) -> float:
    """Share of the parameters with at least ``g`` in a sorted spectrum: x are ranks from 0, y rises with them."""
    heights = np.log10(np.maximum(y, _FLOOR))
    size = x[-1] + 1
    return float(np.clip(1 - np.interp(np.log10(g), heights, x / size, left=0.0, right=1.0), 0, 1))


def decade_share(x: NDArray[np.float64], y: NDArray[np.float64], *, g: float) -> float:
    """Share of the parameters within half a decade of ``g`` in a sorted spectrum."""
    half = np.sqrt(10)
    return share_above(x, y, g=g / half) - share_above(x, y, g=g * half)


def dip(x: NDArray[np.float64], y: NDArray[np.float64], *, g: float) -> float:
    """Share in the decade around ``g`` less the smaller of those in the decades beside it: negative in a gap."""
    beside = min(decade_share(x, y, g=g / 10), decade_share(x, y, g=g * 10))
    return round(decade_share(x, y, g=g) - beside, 12)  # without the last bits: 0 is 0


def crossings(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """How often it changes its sign."""
    return float(len(zero_crossings(x, y)))


def first_rise(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Where it first goes from negative to positive."""
    return next((crossing.epoch for crossing in zero_crossings(x, y) if crossing.rising), float("nan"))


def last_fall(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Where it last goes from positive to negative."""
    found = [crossing.epoch for crossing in zero_crossings(x, y) if not crossing.rising]
    return found[-1] if found else float("nan")


def slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> Estimate:
    """The slope of a straight line through the points, with its interval."""
    return linear_fit(x, y).slope


def decade_slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> Estimate:
    """The slope per decade of x, with its interval."""
    return linear_fit(np.log10(x), y).slope


def correlation(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Pearson's r of points, with Fisher's 95 % interval.

    Raises:
        InputError: If there are fewer than four points, or all x or all y are equal.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.size < 4 or xs.shape != ys.shape or xs.std() == 0 or ys.std() == 0:
        raise InputError(f"a correlation needs four points or more that differ, got {xs.size} and {ys.size}")
    r = float(np.corrcoef(xs, ys)[0, 1])
    middle, half = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)), 1.959964 / np.sqrt(xs.size - 3)
    return Estimate(r, float(np.tanh(middle - half)), float(np.tanh(middle + half)), int(xs.size))


def r_squared(x: NDArray[np.float64], y: NDArray[np.float64]) -> Estimate:
    """Share of the variance that a rising line explains, with its interval; 0 where the line falls."""
    r = correlation(x, y)
    mean, low, high = (max(0.0, value) ** 2 for value in (r.mean, r.low, r.high))
    return Estimate(mean, low, high, r.count)


REDUCTIONS: Mapping[str, Callable[..., float | Estimate]] = {
    function.__name__: function
    for function in (
        peak,
        least,
        first,
        last,
        end,
        at,
        mean_until,
        overshoot,
        where_peak,
        mean,
        mean_x,
        decade_trend,
        compressibility_of,
        share_kept,
        share_above,
        decade_share,
        dip,
        crossings,
        first_rise,
        last_fall,
        slope,
        decade_slope,
        correlation,
        r_squared,
    )
}
"""By the names that files of the paper's values use."""


def find_reduction(name: str) -> Callable[..., float | Estimate]:
    """The reduction of a name.

    Raises:
        InputError: If there is none.
    """
    if name not in REDUCTIONS:
        raise InputError(f"a reduction must be one of {list(REDUCTIONS)}, got {name!r}{nearest(name, REDUCTIONS)}")
    return REDUCTIONS[name]

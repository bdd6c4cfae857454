"""When grokking starts and ends by the length of steps: the zero crossings of its discrete gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokfast._edge import edge
from grokfast.errors import InputError


@dataclass(frozen=True)
class Crossing:
    """A zero of a sampled curve between two samples.

    Attributes:
        epoch: Where the straight line between the two samples is zero.
        before: Epoch of the sample before.
        after: Epoch of the sample after.
        rising: Whether the curve goes from negative to positive.
    """

    epoch: float
    before: float
    after: float
    rising: bool


@edge
def discrete_gradient(epochs: ArrayLike, lengths: ArrayLike) -> NDArray[np.float64]:
    """Gradient of a sampled curve by central differences, of second order also for uneven epochs.

    Args:
        epochs: ``[n]``, rising, n >= 3.
        lengths: ``[n]``, finite.

    Returns:
        ``[n]``, per epoch; one-sided differences at the ends.

    Raises:
        InputError: If there are fewer than three points, epochs do not rise, or a value is not finite.

    Source:
        arXiv 2502.01739, fig. 33.
    """
    x, y = _curve(epochs, lengths, 3)
    return np.asarray(np.gradient(y, x))


@edge
def zero_crossings(epochs: ArrayLike, values: ArrayLike) -> list[Crossing]:
    """Where a sampled curve changes its sign; samples that are exactly zero keep the sign before them.

    Args:
        epochs: ``[n]``, rising, n >= 2.
        values: ``[n]``, finite.

    Returns:
        Crossings in order.

    Raises:
        InputError: As :func:`discrete_gradient`.
    """
    x, y = _curve(epochs, values, 2)
    found = []
    last = None
    for k in np.flatnonzero(y):
        if last is not None and (y[k] > 0) != (y[last] > 0):
            at = x[last] + (x[k] - x[last]) * y[last] / (y[last] - y[k])
            found.append(Crossing(float(at), float(x[last]), float(x[k]), bool(y[k] > 0)))
        last = k
    return found


@edge
def largest_bump(epochs: ArrayLike, lengths: ArrayLike) -> tuple[Crossing, Crossing] | None:
    """Start and end of the curve's largest rise from a local minimum to a later local maximum, as gradient zeros.

    In the paper's reading of the length of steps they mark start and end of grokking. Smaller wiggles on the way up do
    not cut the rise.

    Args:
        epochs: ``[n]``, rising, n >= 3.
        lengths: ``[n]``, finite.

    Returns:
        The zero crossings of the discrete gradient nearest to that minimum, upwards, and to that maximum, downwards;
        None if the curve never rises after a fall and then falls again.

    Raises:
        InputError: As :func:`discrete_gradient`.

    Source:
        arXiv 2502.01739, fig. 33.
    """
    x, y = _curve(epochs, lengths, 3)
    inner = np.arange(1, len(y) - 1)
    low = inner[(y[:-2] > y[1:-1]) & (y[1:-1] <= y[2:])]
    high = inner[(y[:-2] <= y[1:-1]) & (y[1:-1] > y[2:])]
    rises = np.where(low[:, None] < high[None, :], y[high][None, :] - y[low][:, None], -np.inf)
    if not rises.size or rises.max() <= 0:
        return None
    i, j = np.unravel_index(np.argmax(rises), rises.shape)
    crossings = zero_crossings(x, discrete_gradient(x, y))
    starts = [c for c in crossings if c.rising]
    ends = [c for c in crossings if not c.rising]
    if not starts or not ends:
        return None
    start = min(starts, key=lambda crossing: abs(crossing.epoch - x[low[i]]))
    end = min(ends, key=lambda crossing: abs(crossing.epoch - x[high[j]]))
    return (start, end) if start.epoch < end.epoch else None


def _curve(epochs: ArrayLike, values: ArrayLike, least: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(epochs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size < least:
        raise InputError(f"expected at least {least} epochs with a value each, got shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("epochs and values must be finite; leave out the epochs at which nothing was measured")
    if not (np.diff(x) > 0).all():
        raise InputError("epochs must rise")
    return x, y

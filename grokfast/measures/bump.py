"""When grokking starts and ends by the length of steps: the zero crossings of its discrete gradient."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def largest_bump(epochs: ArrayLike, lengths: ArrayLike) -> tuple[Crossing, Crossing] | None:
    """The two neighbouring zero crossings of the gradient, upwards then downwards, between which lengths rise most.

    In the paper's reading they mark start and end of grokking.

    Args:
        epochs: ``[n]``, rising, n >= 3.
        lengths: ``[n]``, finite.

    Returns:
        Start and end, or None if the curve never rises after a fall and then falls again.

    Raises:
        InputError: As :func:`discrete_gradient`.

    Source:
        arXiv 2502.01739, fig. 33.
    """
    x, y = _curve(epochs, lengths, 3)
    crossings = zero_crossings(x, discrete_gradient(x, y))
    pairs = [(a, b) for a, b in pairwise(crossings) if a.rising]
    if not pairs:
        return None
    return max(pairs, key=lambda pair: np.interp(pair[1].epoch, x, y) - np.interp(pair[0].epoch, x, y))


def _curve(epochs: ArrayLike, values: ArrayLike, least: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(epochs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size < least:
        raise InputError(f"expected at least {least} epochs with a value each, got shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("epochs and values must be finite; leave out the epochs at which nothing was measured")
    if not (np.diff(x) > 0).all():
        raise InputError("epochs must rise")
    return x, y

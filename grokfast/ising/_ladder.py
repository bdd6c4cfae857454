"""Probabilities as run-time data for the mask ladder of :mod:`grokfast.ising._words`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grokfast.ising.kinds import Dynamics

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Split(NamedTuple):
    """An exact split p = (1 - 2^-K) n / 2^K + 2^-K g of probabilities.

    Attributes:
        n: int64, in [0, 2^K]: the ladder draws n / 2^K.
        g: float64, in [0, 1]: the chance of a 1 in a bit that is drawn again, with rate 2^-K.
    """

    n: IntArray
    g: FloatArray


def split_probability(p: npt.ArrayLike, K: int) -> Split:
    """The part of each probability that K ladder steps can draw, and the rare correction to it."""
    scaled = np.ldexp(np.asarray(p, dtype=np.float64), K)
    stay = 1.0 - math.ldexp(1.0, -K)
    n = np.minimum(np.floor(scaled / stay), math.ldexp(1.0, K))
    g = np.clip(scaled - n * stay, 0.0, 1.0)
    return Split(n.astype(np.int64), g)


def ladder_bits(n: npt.ArrayLike, K: int) -> npt.NDArray[np.bool_]:
    """Bits C_1 … C_K and the last reflection, for which the ladder draws 1 with probability n / 2^K.

    Args:
        n: Integers in [0, 2^K], any shape.
        K: Ladder steps.

    Returns:
        bool ``[K + 1, *n.shape]``.
    """
    whole = 1 << K
    m = np.array(n, dtype=np.int64)
    bits = np.zeros((K + 1, *m.shape), dtype=np.bool_)
    bits[K] = m > whole // 2
    m = np.where(bits[K], whole - m, m)
    for k in range(K - 1, -1, -1):  # undo a' = (a ^ C) & r, which halves
        bits[k] = 2 * m > whole // 2
        m = np.where(bits[k], whole - 2 * m, 2 * m)
    return bits


def draw_masks_plainly(
    state: npt.NDArray[np.uint64], bits: npt.NDArray[np.uint64], words: int
) -> list[tuple[int, int, int]]:
    """What :func:`grokfast.ising._words.draw_masks` computes, one word after the other in Python integers.

    Args:
        state: uint64 ``[STATE]``, generator states, updated.
        bits: uint64 ``[2, STEPS + 1, LANES]``.
        words: How many to draw, a multiple of LANES.

    Returns:
        The masks ``one``, ``four`` and ``half`` of each word.
    """
    steps, lanes = bits.shape[1] - 1, bits.shape[2]
    full = (1 << 64) - 1
    masks = []
    for word in range(words):
        lane = word % lanes
        s0, s1, s2, s3 = (int(state[i * lanes + lane]) for i in range(4))
        a = b = r = 0
        for k in range(steps):
            r = (s0 + s3) & full
            t = (s1 << 17) & full
            s2 ^= s0
            s3 ^= s1
            s1 ^= s2
            s0 ^= s3
            s2 ^= t
            s3 = ((s3 << 45) | (s3 >> 19)) & full
            a = (a ^ int(bits[0, k, lane])) & r
            b = (b ^ int(bits[1, k, lane])) & r
        for i, s in enumerate((s0, s1, s2, s3)):
            state[i * lanes + lane] = s
        masks.append((a ^ int(bits[0, steps, lane]), b ^ int(bits[1, steps, lane]), r))
    return masks


def mask_probabilities(temperatures: FloatArray, J: float, dynamics: Dynamics) -> FloatArray:
    """Probabilities of the masks ``one`` and ``four``: float64 ``[2, *temperatures.shape]``.

    Metropolis: exp(-4J/T) and exp(-8J/T), to flip against 4J and 8J. Glauber: 1/(1 + exp(4J/T)) and
    1/(1 + exp(8J/T)), to be up under a local field of -2J and -4J. J >= 0; T = 0 is the limit.
    """
    factors = np.array([4.0, 8.0]).reshape(2, *(1,) * temperatures.ndim)
    weights = np.exp(-over_temperature(J * factors, temperatures))
    if dynamics is Dynamics.METROPOLIS:
        return weights
    return np.asarray(weights / (1.0 + weights))


def over_temperature(energy: FloatArray, temperatures: FloatArray) -> FloatArray:
    """E / T; at T = 0 infinite with the sign of E, and 0 for E = 0."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return np.asarray(np.where(energy == 0.0, 0.0, energy / temperatures))


def general_probabilities(
    temperatures: FloatArray, J: float, field: float, dynamics: Dynamics
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The masks of :mod:`grokfast.ising._general` for J >= 0.

    Args:
        temperatures: float64 ``[lanes]``.
        J: Coupling.
        field: h; it is -h for the odd colour of a lattice that the gauge map turned from J < 0 to J > 0.
        dynamics: Metropolis or Glauber.

    Returns:
        Probabilities, float64 ``[3, 5, lanes]``, for sites with 4, 3 and 2 neighbours of which n = 0 … 4 are up
        (meaningless for more than there are): Glauber's to be up, Metropolis' to leave the sign of the local field;
        and whether that sign is up, bool ``[3, 5]``.
    """
    local = np.array([[local_field(J, 2 * n - z, field) for n in range(5)] for z in (4, 3, 2)])
    x = over_temperature(2.0 * local[..., None], temperatures)
    with np.errstate(over="ignore"):
        p = np.exp(-np.abs(x)) if dynamics is Dynamics.METROPOLIS else 1.0 / (1.0 + np.exp(-x))
    return p, local > 0.0


def local_field(J: float, h: int, field: float) -> float:
    """J h + field, with a cancellation that only rounding left over taken for the zero that is meant."""
    total = J * h + field
    return 0.0 if abs(total) <= 1e-14 * max(abs(J * h), abs(field)) else total

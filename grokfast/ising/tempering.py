"""Replica exchange: which pairs of temperatures are offered an exchange, and which replicas take it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]


class Exchange(NamedTuple):
    """One round of offers.

    Attributes:
        pairs: int64 ``[P]``: offers between the temperatures of rank ``pairs`` and ``pairs + 1``.
        accepted: bool ``[P, R]``.
        first: int64, the lattices (of ``T R``) that take part in an exchange.
        second: int64, the lattices that each of them exchanges spins with.
    """

    pairs: IntArray
    accepted: npt.NDArray[np.bool_]
    first: IntArray
    second: IntArray


def exchange(temperatures: FloatArray, energies: FloatArray, turn: int, generator: np.random.Generator) -> Exchange:
    """Offer an exchange with probability min(1, exp((1/T - 1/T')(E - E'))) of being taken.

    Args:
        temperatures: float64 ``[T]``, in any order.
        energies: E of whole lattices, float64 ``[T, R]``.
        turn: Even: the pairs (1st, 2nd), (3rd, 4th), … in rising order of temperatures; odd: (2nd, 3rd), … .
        generator: Decides.

    Returns:
        The round.
    """
    T, R = energies.shape
    order = np.argsort(temperatures, kind="stable")
    pairs = np.arange(turn % 2, T - 1, 2)
    cold, hot = order[pairs], order[pairs + 1]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        beta = 1.0 / temperatures
        gain = (beta[cold] - beta[hot])[:, None] * (energies[cold] - energies[hot])
    chance = np.exp(np.minimum(np.where(np.isnan(gain), 0.0, gain), 0.0))
    accepted = generator.random(chance.shape) < chance
    which, replica = np.nonzero(accepted)
    return Exchange(pairs, accepted, cold[which] * R + replica, hot[which] * R + replica)

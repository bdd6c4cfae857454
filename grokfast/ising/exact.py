"""Exact results for the Ising model on the infinite square lattice.

Energies are per site in the units of J, temperatures are k_B T in the same unit, specific heats per
site in units of k_B. Finite lattices: :mod:`grokfast.ising.torus` and :mod:`grokfast.ising.enumeration`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_positive
from grokfast.errors import InputError
from grokfast.ising.enumeration import EnumeratedAverages, density_of_states, enumerated_averages
from grokfast.ising.torus import (
    kaufman_energy,
    kaufman_free_energy,
    kaufman_log_partition,
    kaufman_specific_heat,
)

__all__ = [
    "EnumeratedAverages",
    "critical_temperature",
    "density_of_states",
    "enumerated_averages",
    "kaufman_energy",
    "kaufman_free_energy",
    "kaufman_log_partition",
    "kaufman_specific_heat",
    "onsager_energy",
    "onsager_specific_heat",
    "spontaneous_magnetization",
]

FloatArray = npt.NDArray[np.float64]


def critical_temperature(J: float = 1.0) -> float:
    """Tc = 2 J / ln(1 + √2), about 2.269 J.

    Args:
        J: Ferromagnetic coupling, greater than 0.

    Returns:
        The temperature of the transition, in the units of J.

    Raises:
        InputError: If J is not a finite number greater than 0.

    Source:
        Kramers and Wannier, Phys. Rev. 60, 252 (1941).
    """
    check_positive("J", J)
    return 2.0 * J / math.log1p(math.sqrt(2.0))


def spontaneous_magnetization(temperature: npt.ArrayLike, J: float = 1.0) -> FloatArray:
    """Spontaneous magnetisation m = (1 - sinh(2J/T)⁻⁴)^(1/8) below Tc, 0 from Tc on.

    Args:
        temperature: T > 0, any shape; infinity is allowed.
        J: Ferromagnetic coupling, greater than 0.

    Returns:
        Magnetisation per site in [0, 1], of the shape of ``temperature``.

    Raises:
        InputError: If a temperature or J is out of range.

    Source:
        Yang, Phys. Rev. 85, 808 (1952); arXiv 2502.01739, eq. 13.
    """
    K = _couplings(temperature, J)
    # sinh⁻²(2K) from q = exp(-4K): no overflow at low temperature.
    q = np.exp(-4.0 * K)
    square = np.square(np.expm1(-4.0 * K))  # sinh²(2K) = square / (4 q)
    inverse = np.minimum(4.0 * q / np.maximum(square, 4.0 * q), 1.0)
    return np.asarray((1.0 - inverse**2) ** 0.125)


def onsager_energy(temperature: npt.ArrayLike, J: float = 1.0) -> FloatArray:
    """Energy per site u = -J coth(2K) [1 + (2/π)(2 tanh²(2K) - 1) 𝐊(k)] for L → ∞.

    Here K = J/T, k = 2 sinh(2K) / cosh²(2K) and 𝐊 is the complete elliptic integral of the first kind.

    Args:
        temperature: T > 0, any shape; infinity is allowed.
        J: Ferromagnetic coupling, greater than 0.

    Returns:
        Energy per site in the units of J, of the shape of ``temperature``.

    Raises:
        InputError: If a temperature or J is out of range.

    Source:
        Onsager, Phys. Rev. 65, 117 (1944).
    """
    K = _couplings(temperature, J)
    high = K < 1e-4  # there coth(2K) cancels with the bracket; use the series -2K - (8/3) K³ instead
    safe = np.where(high, 1.0, K)
    t = np.tanh(2.0 * safe)
    w = 2.0 * t * t - 1.0
    first, _ = _elliptic(np.abs(w))
    # At Tc, w = 0 and 𝐊 diverges like ln(1/|w|): the product vanishes.
    product = np.where(w == 0.0, 0.0, w * np.where(w == 0.0, 0.0, first))
    energy = -(1.0 + 2.0 / math.pi * product) / t
    return np.asarray(J * np.where(high, -2.0 * K - 8.0 / 3.0 * K**3, energy))


def onsager_specific_heat(temperature: npt.ArrayLike, J: float = 1.0) -> FloatArray:
    """Specific heat per site for L → ∞, with 𝐊, 𝐄 the complete elliptic integrals.

    c = (2/π)(K coth 2K)² {2𝐊 - 2𝐄 - 2(1 - tanh²2K)[π/2 + (2 tanh²2K - 1) 𝐊]}

    Args:
        temperature: T > 0, any shape; infinity is allowed.
        J: Ferromagnetic coupling, greater than 0.

    Returns:
        Specific heat per site in units of k_B; infinite at Tc.

    Raises:
        InputError: If a temperature or J is out of range.

    Source:
        Onsager, Phys. Rev. 65, 117 (1944).
    """
    K = _couplings(temperature, J)
    high = K < 1e-3  # series 2K² + 8K⁴
    low = K > 5.0  # series 64 K² (exp(-8K) + (9/2) exp(-12K)) of the two cheapest excitations
    safe = np.where(high | low, 1.0, K)
    t = np.tanh(2.0 * safe)
    w = 2.0 * t * t - 1.0
    first, second = _elliptic(np.abs(w))
    with np.errstate(invalid="ignore"):
        product = np.where(w == 0.0, 0.0, w * first)
        bracket = 2.0 * first - 2.0 * second - 2.0 * (1.0 - t * t) * (math.pi / 2.0 + product)
    middle = 2.0 / math.pi * (safe / t) ** 2 * bracket
    heat = np.where(high, 2.0 * K**2 + 8.0 * K**4, middle)
    cold = np.where(low, K, 5.0)
    frozen = 64.0 * (cold * np.exp(-4.0 * cold)) ** 2 * (1.0 + 4.5 * np.exp(-4.0 * cold))
    return np.asarray(np.where(low, frozen, heat))


def _couplings(temperature: npt.ArrayLike, J: float) -> FloatArray:
    """K = J / T as float64, after checking both."""
    check_positive("J", J)
    try:
        T = np.asarray(temperature, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"temperature must be numbers > 0, got {temperature!r}") from None
    if not (T > 0).all():
        raise InputError(f"temperature must be > 0 (infinity is allowed), got {temperature!r}")
    return np.asarray(J / T)


def _elliptic(k_prime: FloatArray) -> tuple[FloatArray, FloatArray]:
    """𝐊 and 𝐄 at the complementary modulus k', by the arithmetic-geometric mean (∞ and 1 at k' = 0)."""
    a = np.ones_like(k_prime)
    b = np.where(k_prime == 0.0, 1.0, k_prime)
    total = (1.0 - b * b) / 2.0
    power = 1.0
    for _ in range(12):
        a, b, c = (a + b) / 2.0, np.sqrt(a * b), (a - b) / 2.0
        total = total + power * c * c
        power *= 2.0
    first = math.pi / (2.0 * a)
    second = first * (1.0 - total)
    singular = k_prime == 0.0
    return np.where(singular, np.inf, first), np.where(singular, 1.0, second)

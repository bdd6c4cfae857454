"""Onsager's and Yang's results for the infinite square lattice, to the last digits at every temperature."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grokfast.ising.inputs import check_energy, check_temperature

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
    check_energy("J", J, positive=True)
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
    # 1 - sinh⁻⁴ = (sinh - 1)(sinh + 1)(sinh² + 1) / sinh⁴, without overflow when cold and without cancellation at Tc
    cold = K > 2.0
    near = np.clip(K, _KC, 2.0)
    sinh = np.sinh(2.0 * near)
    product = np.maximum(_sinh_gap(near), 0.0) * (sinh + 1.0) * (sinh**2 + 1.0) / sinh**4
    inverse = (2.0 * np.exp(-2.0 * K) / -np.expm1(-4.0 * np.maximum(K, 1.0))) ** 4
    return np.asarray(np.where(cold, 1.0 - inverse, np.where(K > _KC, product, 0.0)) ** 0.125)


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
    p = _parts(K)
    # Cold, 1 + w (2/π) 𝐊 is a sum of positive terms; hot, w = 2 tanh² - 1 is negative and 2 tanh² + w δ is the same
    # sum.
    # At Tc, w = 0 and δ diverges like ln(1/|w|): the product vanishes.
    product = np.where(p.w == 0.0, 0.0, p.w * np.where(p.w == 0.0, 0.0, p.excess))
    bracket = np.where(p.w >= 0.0, 1.0 + p.w + product, 2.0 * p.tanh**2 + product)
    energy = -bracket / np.where(p.tanh == 0.0, 1.0, p.tanh)
    return np.asarray(J * np.where(p.tanh < 1e-150, -2.0 * K, energy))


def onsager_specific_heat(temperature: npt.ArrayLike, J: float = 1.0) -> FloatArray:
    """Specific heat per site for L → ∞, with 𝐊, 𝐄 the complete elliptic integrals.

    c = (2/π)(K coth 2K)² {2𝐊 - 2𝐄 - 2(1 - tanh²2K)[π/2 + (2 tanh²2K - 1) 𝐊]}

    It is computed as a sum of positive terms, c = 2 (K coth 2K)² [(1 + δ)(x² + R) + δ / cosh²2K] with δ = 2𝐊/π - 1, x
    the
    lesser of tanh²2K and 1/cosh²2K, and R = Σ_{n≥2} 2^(n-1) c_n² over the arithmetic-geometric mean.

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
    p = _parts(K)
    singular = p.w == 0.0
    excess = np.where(singular, 0.0, p.excess)
    bracket = (1.0 + excess) * (p.least**2 + p.rest) + p.sech2 * excess
    none = bracket == 0.0  # K = 0, or so cold that it is less than any number
    ratio = np.where(none, 0.0, K) / np.where(none, 1.0, p.tanh)
    return np.asarray(np.where(singular, np.inf, 2.0 * ratio**2 * bracket))


class _Parts(NamedTuple):
    """What energy and specific heat are made of, without cancellation.

    Attributes:
        tanh: tanh 2K.
        sech2: 1 / cosh² 2K.
        w: 2 tanh² 2K - 1, the complementary modulus with a sign.
        least: The lesser of tanh² 2K and 1 / cosh² 2K.
        excess: δ = (2/π) 𝐊 - 1; infinite at w = 0.
        rest: Σ_{n≥2} 2^(n-1) c_n².
    """

    tanh: FloatArray
    sech2: FloatArray
    w: FloatArray
    least: FloatArray
    excess: FloatArray
    rest: FloatArray


def _parts(K: FloatArray) -> _Parts:
    """The arithmetic-geometric mean of 1 and k' = |w| = 1 - 2 x, begun from x, which is known to the last digit."""
    t = np.tanh(2.0 * K)
    q = np.exp(-4.0 * K)
    sech2 = 4.0 * q / np.square(1.0 + q)
    w = np.where(np.abs(t * t - 0.5) < 0.25, _near_critical(K, sech2), 2.0 * t * t - 1.0)
    singular = w == 0.0
    least = np.minimum(t * t, sech2)
    c = np.where(singular, 0.0, least)  # c_1 = (1 - k') / 2
    a, b = 1.0 - c, np.sqrt(np.where(singular, 1.0, np.abs(w)))
    total, rest, weight = c, np.zeros_like(c), 2.0
    for _ in range(12):
        following = (a + b) / 2.0
        c, b, a = c * c / (4.0 * following), np.sqrt(a * b), following
        total = total + c  # 1 - a
        rest = rest + weight * c * c
        weight *= 2.0
    return _Parts(t, sech2, w, least, np.where(singular, np.inf, total / a), rest)


def _near_critical(K: FloatArray, sech2: FloatArray) -> FloatArray:
    """2 tanh² 2K - 1 = (sinh 2K - 1)(sinh 2K + 1) / cosh² 2K, with the digits that the difference loses at Tc."""
    near = np.clip(K, 0.1, 2.0)
    return np.asarray(_sinh_gap(near) * (np.sinh(2.0 * near) + 1.0) * sech2)


def _sinh_gap(K: FloatArray) -> FloatArray:
    """Sinh 2K - sinh 2Kc = 2 cosh(K + Kc) sinh(K - Kc), with sinh 2Kc = 1."""
    return np.asarray(2.0 * np.cosh(K + _KC) * np.sinh((K - _KC) - _KC_REST))


_KC = 0.4406867935097715
_KC_REST = -1.125272946412933e-17
"""ln(1 + √2) / 2 = 0.44068679350977151261630466248989615…, in two parts."""


def _couplings(temperature: npt.ArrayLike, J: float) -> FloatArray:
    """K = J / T as float64, at most 1e300, after checking both."""
    check_energy("J", J, positive=True)
    with np.errstate(over="ignore"):
        return np.minimum(J / check_temperature(temperature), 1e300)

"""Kaufman's exact partition function of the Ising model on a finite torus, stable at every temperature.

Kaufman (Phys. Rev. 76, 1232 (1949)) writes Z of an M×N torus as half the sum of four products over N
modes,

    Z = ½ (2 sinh 2K)^{MN/2} [Π 2cosh(Mγ_r/2) + Π 2sinh(Mγ_r/2) + Π 2cosh(Mγ_s/2) + Π 2sinh(Mγ_s/2)],

with cosh γ = cosh 2K coth 2K - cos θ, θ = π r / N, r odd and s even in [0, 2N), and γ_0 = 2K + ln tanh K,
which is negative above Tc. Written like that it overflows when cold and cancels when hot. With q = exp(-2K)
every mode is instead

    exp(γ) = (a + d) / b,   a = (1+q²)²/2 - q(1-q²) cos θ,   b = q(1-q²),   d² = a² - b²,

and (2 sinh 2K)^{M/2} 2cosh(Mγ/2) = exp(2KM) (a + d)^{M/2} (1 + exp(-Mγ)), in which nothing overflows or
cancels for any K >= 0. The derivatives in K (Ferdinand and Fisher, Phys. Rev. 185, 832 (1969)) are carried
along exactly, as second-order Taylor coefficients. In these the modes do cancel when cold or hot:
:mod:`grokfast.ising.torus_decimal` has the digits for that.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grokfast.ising.infinite import onsager_energy, onsager_specific_heat
from grokfast.ising.inputs import Shape, check_energy, check_temperature, parse_shape
from grokfast.ising.torus_decimal import derivatives

FloatArray = npt.NDArray[np.float64]


class _Jet(NamedTuple):
    """A function of K with its first two derivatives."""

    f: FloatArray
    df: FloatArray
    ddf: FloatArray

    def plus(self, other: _Jet) -> _Jet:
        return _Jet(self.f + other.f, self.df + other.df, self.ddf + other.ddf)

    def times(self, other: _Jet) -> _Jet:
        return _Jet(
            self.f * other.f,
            self.df * other.f + self.f * other.df,
            self.ddf * other.f + 2.0 * self.df * other.df + self.f * other.ddf,
        )

    def scaled(self, factor: float | FloatArray, shift: float = 0.0) -> _Jet:
        """``factor · self + shift`` for numbers that do not depend on K."""
        return _Jet(factor * self.f + shift, factor * self.df, factor * self.ddf)

    def through(self, g: FloatArray, dg: FloatArray, ddg: FloatArray) -> _Jet:
        """The chain rule: g(self), given g and its derivatives at ``self.f``."""
        return _Jet(g, dg * self.df, ddg * self.df**2 + dg * self.ddf)

    def sqrt(self) -> _Jet:
        root = np.sqrt(self.f)
        return self.through(root, 0.5 / root, -0.25 / (root * self.f))

    def reciprocal(self) -> _Jet:
        return self.through(1.0 / self.f, -1.0 / self.f**2, 2.0 / self.f**3)

    def log(self) -> _Jet:
        return self.through(np.log(self.f), 1.0 / self.f, -1.0 / self.f**2)

    def exp(self) -> _Jet:
        g = np.exp(self.f)
        return self.through(g, g, g)

    def power(self, n: int) -> _Jet:
        f = self.f
        return self.through(f**n, n * f ** (n - 1), n * (n - 1) * f ** max(n - 2, 0))

    def total(self) -> _Jet:
        return _Jet(np.asarray(self.f.sum()), np.asarray(self.df.sum()), np.asarray(self.ddf.sum()))


def _modes(q: _Jet, theta: FloatArray, M: int) -> tuple[_Jet, _Jet]:
    """(M/2) ln(a + d) and exp(-Mγ) for each θ; the mode θ = 0 with |γ_0|."""
    u = q.times(q)
    b = q.times(u.scaled(-1.0, 1.0))
    half_square = u.scaled(1.0, 1.0).power(2).scaled(0.5)
    a = half_square.plus(b.scaled(-np.cos(theta)))
    # a - b = (1 - 2q - q²)²/2 + b (1 - cos θ): both terms are positive, so nothing cancels near Tc.
    gap = _gap(q)
    zero_mode = theta.size == 1 and theta[0] == 0.0
    if zero_mode:
        sign = 1.0 if gap.f >= 0.0 else -1.0
        d = gap.scaled(sign * math.sqrt(0.5)).times(a.plus(b).sqrt())
    else:
        difference = gap.power(2).scaled(0.5).plus(b.scaled(2.0 * np.sin(theta / 2.0) ** 2))
        d = difference.times(a.plus(b)).sqrt()
    top = a.plus(d)
    return top.log().scaled(M / 2.0), b.times(top.reciprocal()).power(M)


def _gap(q: _Jet) -> _Jet:
    """1 - 2q - q², which has the sign of Tc - T."""
    return q.times(q).scaled(-1.0, 1.0).plus(q.scaled(-2.0))


def _log_partition_jet(K: float, rows: int, columns: int) -> _Jet:
    """The function ln Z - 2 K rows columns of K (that is, without the ground state's energy)."""
    N, M = min(rows, columns), max(rows, columns)
    q0 = math.exp(-2.0 * K)
    q = _Jet(np.array(q0), np.array(-2.0 * q0), np.array(4.0 * q0))

    def cosh_and_sinh(modes: tuple[_Jet, _Jet]) -> tuple[_Jet, _Jet]:
        """Logarithms of the two products over modes that stay away from γ = 0."""
        log_top, decay = modes
        return (
            log_top.plus(decay.scaled(1.0, 1.0).log()).total(),
            log_top.plus(decay.scaled(-1.0, 1.0).log()).total(),
        )

    odd = cosh_and_sinh(_modes(q, math.pi * (2.0 * np.arange(N) + 1.0) / N, M))
    even = cosh_and_sinh(_modes(q, 2.0 * math.pi * np.arange(1, N) / N, M))
    log_zero, decay_zero = (jet.total() for jet in _modes(q, np.zeros(1), M))
    sign = 1.0 if _gap(q).f >= 0.0 else -1.0  # γ_0 < 0 above Tc turns the sign of its sinh
    one = decay_zero.scaled(0.0, 1.0)
    terms = [
        (odd[0], one),
        (odd[1], one),
        (even[0].plus(log_zero), decay_zero.scaled(1.0, 1.0)),
        (even[1].plus(log_zero), decay_zero.scaled(-sign, sign)),
    ]
    largest = max(float(logarithm.f) for logarithm, _ in terms)
    total = one.scaled(0.0)
    for logarithm, factor in terms:
        total = total.plus(logarithm.scaled(1.0, -largest).exp().times(factor))
    return total.log().scaled(1.0, largest - math.log(2.0))


def kaufman_log_partition(temperature: npt.ArrayLike, shape: Shape, J: float = 1.0) -> FloatArray:
    """Ln Z of the periodic lattice.

    Args:
        temperature: T > 0, any shape; infinity is allowed (ln Z = N ln 2).
        shape: L or (Ly, Lx), each at least 2. A side of 2 has two bonds between the same two sites.
        J: Ferromagnetic coupling, greater than 0.

    Returns:
        Dimensionless, of the shape of ``temperature``.

    Raises:
        InputError: If an argument is out of range.

    Source:
        Kaufman, Phys. Rev. 76, 1232 (1949).
    """
    sites, K, jets = _evaluate(temperature, shape, J)
    with np.errstate(over="ignore"):
        return np.asarray(2.0 * K * sites + jets[0])


def kaufman_free_energy(temperature: npt.ArrayLike, shape: Shape, J: float = 1.0) -> FloatArray:
    """Free energy per site f = -T ln Z / N, in the units of J; see :func:`kaufman_log_partition`.

    Args:
        temperature: T > 0 and finite, any shape.
        shape: L or (Ly, Lx), each at least 2.
        J: Ferromagnetic coupling, greater than 0.

    Returns:
        Free energy per site, of the shape of ``temperature`` (-∞ at T = ∞).

    Raises:
        InputError: If an argument is out of range.

    Source:
        Kaufman, Phys. Rev. 76, 1232 (1949).
    """
    sites, _, jets = _evaluate(temperature, shape, J)
    return np.asarray(-2.0 * J - np.asarray(temperature, dtype=np.float64) * (jets[0] / sites))


def kaufman_energy(temperature: npt.ArrayLike, shape: Shape, J: float = 1.0) -> FloatArray:
    """Energy per site u = -(J / N) d ln Z / dK, in the units of J.

    Args:
        temperature: T > 0, any shape; infinity is allowed.
        shape: L or (Ly, Lx), each at least 2. A side of 2 has two bonds between the same two sites.
        J: Ferromagnetic coupling, greater than 0.

    Returns:
        Energy per site, of the shape of ``temperature``.

    Raises:
        InputError: If an argument is out of range.

    Source:
        Kaufman, Phys. Rev. 76, 1232 (1949).
    """
    return _derivatives(temperature, shape, J)[0]


def kaufman_specific_heat(temperature: npt.ArrayLike, shape: Shape, J: float = 1.0) -> FloatArray:
    """Specific heat per site c = (K² / N) d² ln Z / dK², in units of k_B.

    Args:
        temperature: T > 0, any shape; infinity is allowed.
        shape: L or (Ly, Lx), each at least 2. A side of 2 has two bonds between the same two sites.
        J: Ferromagnetic coupling, greater than 0.

    Returns:
        Specific heat per site, of the shape of ``temperature``.

    Raises:
        InputError: If an argument is out of range.

    Source:
        Ferdinand and Fisher, Phys. Rev. 185, 832 (1969).
    """
    return _derivatives(temperature, shape, J)[1]


def _evaluate(temperature: npt.ArrayLike, shape: Shape, J: float) -> tuple[int, FloatArray, FloatArray]:
    """Number of sites, K, and the jet's three parts stacked, after checking the arguments."""
    check_energy("J", J, positive=True)
    rows, columns = parse_shape("shape", shape)
    with np.errstate(over="ignore"):
        K = np.asarray(J / check_temperature(temperature))
    jets = np.array([_log_partition_jet(float(k), rows, columns) for k in K.ravel()])
    return rows * columns, K, jets.reshape(-1, 3).T.reshape(3, *K.shape)


_COLD, _HOT, _WIDE = 0.8, 0.3, 64
"""Beyond these K = J / T float64 loses digits of the jets; there a torus of this width is infinite to 1e-16."""


def _derivatives(temperature: npt.ArrayLike, shape: Shape, J: float) -> tuple[FloatArray, FloatArray]:
    """Energy and specific heat per site, each by the arithmetic that keeps its digits at that temperature."""
    check_energy("J", J, positive=True)
    rows, columns = parse_shape("shape", shape)
    T = check_temperature(temperature)
    sites = rows * columns
    energy, heat = np.empty(T.size), np.empty(T.size)
    for i, t in enumerate(T.ravel()):
        K = J / float(t)
        if _HOT < K < _COLD:
            jet = _log_partition_jet(K, rows, columns)
            energy[i], heat[i] = -J * (2.0 + float(jet.df) / sites), K * K * float(jet.ddf) / sites
        elif min(rows, columns) >= _WIDE:
            energy[i], heat[i] = onsager_energy(t, J), onsager_specific_heat(t, J)
        else:
            energy[i], heat[i] = derivatives(J, float(t), rows, columns)
    return energy.reshape(T.shape), heat.reshape(T.shape)

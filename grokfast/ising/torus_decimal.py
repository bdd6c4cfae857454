"""Kaufman's solution in decimal arithmetic, for temperatures at which its terms cancel.

Cold, the specific heat of a torus is of order q⁴ with q = exp(-2K), and the modes add terms of order q that cancel over θ; hot,
the energy is a small rest of -2J. So the sums of :mod:`grokfast.ising.torus` are done here with as many digits more as are
lost, from logarithmic derivatives: no logarithm is taken, and products of modes do not overflow a ``Decimal``.
"""

from __future__ import annotations

import functools
import math
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from typing import NamedTuple

_GUARD = 45
_FROZEN = 100.0  # beyond it, 64 K² exp(-8K) is less than any float64 above 0


class _LogJet(NamedTuple):
    """A value with the first two derivatives of its logarithm."""

    value: Decimal
    first: Decimal
    second: Decimal

    def times(self, other: _LogJet) -> _LogJet:
        return _LogJet(self.value * other.value, self.first + other.first, self.second + other.second)

    def power(self, n: int) -> _LogJet:
        return _LogJet(self.value**n, n * self.first, n * self.second)

    def sqrt(self) -> _LogJet:
        return _LogJet(self.value.sqrt(), self.first / 2, self.second / 2)

    def one_plus(self, sign: int) -> _LogJet:
        """1 ± the value."""
        whole = 1 + sign * self.value
        first = sign * self.value * self.first / whole
        second = sign * self.value * (self.second + self.first**2) / whole - first**2
        return _LogJet(whole, first, second)


def derivatives(J: float, temperature: float, rows: int, columns: int) -> tuple[float, float]:
    """Energy and specific heat per site of the torus.

    Args:
        J: Coupling > 0.
        temperature: T > 0, finite or infinite.
        rows: Ly.
        columns: Lx.

    Returns:
        u in the units of J, and c in units of k_B; each is rounded once, at the end.
    """
    K = J / temperature
    if K > _FROZEN:
        return -2.0 * J, 0.0
    if K == 0.0:
        return 0.0, 0.0
    N, M = min(rows, columns), max(rows, columns)
    digits = math.ceil(8.0 * K / math.log(10.0) - 4.0 * min(0.0, math.log10(K))) + _GUARD + 2 * len(str(N * M))
    with localcontext(Context(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN)):
        exact_K = Decimal(J) / Decimal(temperature)
        cosines = _cosines(N, digits)
        q = (-2 * exact_K).exp()
        terms = [term for parity in (1, 0) for term in _products(q, cosines, parity, N, M)]
        total = sum((term.value for term in terms), Decimal(0))
        first = sum((term.value * term.first for term in terms), Decimal(0)) / total
        second = sum((term.value * (term.second + term.first**2) for term in terms), Decimal(0)) / total - first**2
        sites = N * M
        return float(-Decimal(J) * (2 + first / sites)), float(exact_K**2 * second / sites)


def _products(q: Decimal, cosines: tuple[Decimal, ...], parity: int, N: int, M: int) -> tuple[_LogJet, _LogJet]:
    """Products over θ = π r / N, r of the parity in [0, 2N), of (a + d)^(M/2) (1 ± exp(-Mγ))."""
    single = _LogJet(Decimal(1), Decimal(0), Decimal(0))
    plus, minus = single, single
    for r in range(parity, N + 1, 2):
        top, decay = _mode(q, cosines[r], zero=r == 0)
        decay = decay.power(M)
        bare = top.power(M)
        if r in (0, N):  # the others come twice, at θ and 2π - θ
            bare = bare.sqrt()
            plus, minus = plus.times(decay.one_plus(1)), minus.times(decay.one_plus(-1))
        else:
            plus, minus = plus.times(decay.one_plus(1).power(2)), minus.times(decay.one_plus(-1).power(2))
        single = single.times(bare)
    return single.times(plus), single.times(minus)


def _mode(q: Decimal, cosine: Decimal, *, zero: bool) -> tuple[_LogJet, _LogJet]:
    """The jets of a + d and of exp(-γ) = b / (a + d); the mode θ = 0 with the sign of γ_0."""
    q2, q3, q4 = q**2, q**3, q**4
    b, b1, b2 = q - q3, -2 * q + 6 * q3, 4 * q - 36 * q3
    a = (1 + q4) / 2 + q2 - b * cosine
    a1, a2 = -4 * q2 - 4 * q4 - b1 * cosine, 16 * q2 + 32 * q4 - b2 * cosine
    d = (a * a - b * b).sqrt()
    if zero:
        gap = 1 - 2 * q - q2
        d = gap * ((a + b) / 2).sqrt()
    d1 = (a * a1 - b * b1) / d
    d2 = (a1**2 + a * a2 - b1**2 - b * b2 - d1**2) / d
    top = a + d
    first, second = (a1 + d1) / top, (a2 + d2) / top
    second -= first**2
    share = b1 / b
    return _LogJet(top, first, second), _LogJet(b / top, share - first, b2 / b - share**2 - second)


@functools.lru_cache(maxsize=8)
def _cosines(N: int, digits: int) -> tuple[Decimal, ...]:
    """cos(π r / N) for r = 0 … N."""
    with localcontext(Context(prec=digits + 10 + 2 * len(str(N)))):
        x = (_pi() / N) ** 2
        term, first, k = Decimal(1), Decimal(1), 0
        while first + term != first or k == 0:
            k += 2
            term = -term * x / (k * (k - 1))
            first += term
        values = [Decimal(1), first]
        while len(values) <= N:
            values.append(2 * first * values[-1] - values[-2])
        return tuple(values)


def _pi() -> Decimal:
    """π to the precision of the context, by the arithmetic-geometric mean (Brent and Salamin)."""
    a, b, t, p = Decimal(1), 1 / Decimal(2).sqrt(), Decimal("0.25"), 1
    for _ in range(12):
        following = (a + b) / 2
        b, t = (a * b).sqrt(), t - p * (a - following) ** 2
        a, p = following, 2 * p
    return (a + b) ** 2 / (4 * t)

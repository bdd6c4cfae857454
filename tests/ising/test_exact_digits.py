"""Every exact function to the last digits, against sums and integrals in 80 decimal digits."""

import numpy as np
import pytest

from grokfast.ising import exact

mp = pytest.importorskip("mpmath")  # comes with torch, through sympy
T = np.concatenate([np.geomspace(0.1, 50.0, 40), [2.26, 2.28]])


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(80):
        yield


def close(ours, reference, relative):
    for value, x in zip(np.ravel(ours), reference, strict=True):
        assert abs(mp.mpf(float(value)) - x) <= relative * abs(x), (value, x)


def onsager_heat(t):
    K = 1 / mp.mpf(float(t))
    tanh, m = mp.tanh(2 * K), (2 * mp.sinh(2 * K) / mp.cosh(2 * K) ** 2) ** 2
    bracket = mp.pi / 2 + (2 * tanh**2 - 1) * mp.ellipk(m)
    return 2 / mp.pi * (K / tanh) ** 2 * (2 * mp.ellipk(m) - 2 * mp.ellipe(m) - 2 * (1 - tanh**2) * bracket)


def onsager_energy(t):
    K = 1 / mp.mpf(float(t))
    tanh, m = mp.tanh(2 * K), (2 * mp.sinh(2 * K) / mp.cosh(2 * K) ** 2) ** 2
    return -(1 + 2 / mp.pi * (2 * tanh**2 - 1) * mp.ellipk(m)) / tanh


def yang(t):
    sinh = mp.sinh(2 / mp.mpf(float(t)))
    return (1 - sinh**-4) ** (mp.mpf(1) / 8) if sinh > 1 else mp.mpf(0)


def test_infinite_lattice():
    close(exact.onsager_energy(T), [onsager_energy(t) for t in T], 2e-15)
    close(exact.onsager_specific_heat(T), [onsager_heat(t) for t in T], 3e-14)
    close(exact.spontaneous_magnetization(T), [yang(t) for t in T], 3e-15)
    close([exact.critical_temperature()], [2 / mp.log(1 + mp.sqrt(2))], 2e-16)
    # 0.2 had 5.9e-1 of relative error once; and beyond any range
    close(exact.onsager_specific_heat(0.2), [onsager_heat(0.2)], 3e-14)
    far = np.array([0.02, 1e4, 1e8])
    with mp.workdps(500):
        close(exact.onsager_specific_heat(far), [onsager_heat(t) for t in far], 1e-13)
    close(exact.onsager_energy(far), [onsager_energy(t) for t in far], 1e-14)
    assert exact.onsager_specific_heat([1e-3, 5e-324, np.inf]).tolist() == [0.0, 0.0, 0.0]


def kaufman(t, rows, columns):
    """ln Z, energy and specific heat per site from the four products as Kaufman wrote them, by differences in 80 digits."""

    def log_z(K):
        N, M = rows, columns
        h = [2 * K + mp.log(mp.tanh(K))]
        h += [mp.acosh(mp.cosh(2 * K) * mp.coth(2 * K) - mp.cos(mp.pi * r / N)) for r in range(1, 2 * N)]
        terms = []
        for first in (1, 0):
            for f in (mp.cosh, mp.sinh):
                terms.append(mp.fprod(2 * f(M * h[r] / 2) for r in range(first, 2 * N, 2)))
        return mp.log(mp.fsum(terms) / 2) + M * N * mp.log(2 * mp.sinh(2 * K)) / 2

    K, step = 1 / mp.mpf(float(t)), mp.mpf(10) ** -18
    low, here, high = (log_z(K + s) for s in (-step, 0, step))
    sites = rows * columns
    slope, bend = (high - low) / (2 * step), (high - 2 * here + low) / step**2
    return here, -slope / sites, K**2 * bend / sites


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (2, 5), (4, 6), (7, 3)])
def test_finite_torus(shape):
    with mp.workdps(120):
        found = [kaufman(t, *shape) for t in T[::3]]
    for i, function in enumerate((exact.kaufman_log_partition, exact.kaufman_energy, exact.kaufman_specific_heat)):
        close(function(T[::3], shape), [x[i] for x in found], 2e-13)
    free = [-mp.mpf(float(t)) * x[0] / (shape[0] * shape[1]) for t, x in zip(T[::3], found, strict=True)]
    close(exact.kaufman_free_energy(T[::3], shape), free, 2e-13)


def test_large_torus_joins_its_three_arithmetics():
    from grokfast.ising import torus_decimal

    for side in (63, 64, 100):
        for t in (0.15, 0.7, 1.2499, 1.2501, 2.0, 2.5, 3.3, 3.4, 20.0):
            energy, heat = torus_decimal.derivatives(1.0, t, side, side)
            assert abs(exact.kaufman_energy(t, side) - energy) <= 1e-12 * abs(energy)
            assert abs(exact.kaufman_specific_heat(t, side) - heat) <= 1e-11 * heat

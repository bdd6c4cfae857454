"""J other than 1: what has its unit is multiplied by it, what is a pure number is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

import grokfast.ising.quench as quench_module
from grokfast.ising.analysis import reweight
from grokfast.ising.measure import Measurements
from grokfast.ising.series import Series
from grokfast.ising.torus import kaufman_energy, kaufman_specific_heat

rng = np.random.default_rng(4)
BONDS, MOMENTS = rng.integers(-20, 30, (9, 2, 3)), rng.integers(-12, 13, (9, 2, 3))


def series(J, field, T=(1.5, 2.5)):
    return Series(np.array(T) * abs(J), BONDS, MOMENTS, 1 / 24, 24, J, field)


@pytest.mark.parametrize("J", [2.0, -0.5])
@pytest.mark.parametrize("field", [0.0, 0.75])
def test_energies_of_a_series(J, field):
    """E / N = (-J Σ σσ - h Σ σ) / N."""
    found = series(J, field)
    bonds, moments = (np.moveaxis(x, 0, -1) / 24 for x in (BONDS, MOMENTS))
    np.testing.assert_allclose(found.bond_energies(), -J * bonds, rtol=1e-14)
    np.testing.assert_allclose(found.energies(), -J * bonds - field * moments, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(found.magnetizations(), moments, rtol=1e-14)
    np.testing.assert_array_equal(found.energies(2), found.energies()[:, :2])


def _measured(J, field):
    of = series(J, field)
    return Measurements.from_series(of.temperatures, of.energies(), of.magnetizations(), sites=24, every=3)


def test_averages_scale_with_j():
    """At T / J and h / J: e in units of J, c a number, χ in 1 / J, the Binder cumulant a number."""
    one, two = _measured(1.0, 0.5), _measured(2.0, 1.0)
    for name, power in (
        ("energy", 1), ("magnetization", 0), ("abs_magnetization", 0), ("specific_heat", 0), ("susceptibility", -1),
        ("binder", 0),
    ):  # fmt: skip
        for part in (0, 1):
            ours, theirs = getattr(two, name)[part], getattr(one, name)[part]
            np.testing.assert_allclose(ours, 2.0**power * theirs, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(two.trust[name].time, one.trust[name].time, rtol=1e-12)


def test_averages_are_their_definitions():
    """With J = 2, written out from the series."""
    found, of = _measured(2.0, 1.0), series(2.0, 1.0)
    e, m = of.energies().reshape(2, -1), of.magnetizations().reshape(2, -1)
    T = of.temperatures
    np.testing.assert_allclose(found.energy.mean, e.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.specific_heat.mean, 24 * e.var(1) / T**2, rtol=1e-11)
    spread = (m**2).mean(1) - np.abs(m).mean(1) ** 2
    np.testing.assert_allclose(found.susceptibility.mean, 24 * spread / T, rtol=1e-11)
    np.testing.assert_allclose(found.binder.mean, 1 - (m**4).mean(1) / (3 * (m**2).mean(1) ** 2), rtol=1e-12)
    assert found.trust["energy"].ratio == pytest.approx(3 * 9 / found.trust["energy"].time)


def test_reweighting_scales_with_j():
    found = []
    for J in (1.0, 2.0):
        of = series(J, 0.5 * J)
        measured = Measurements.from_series(of.temperatures, of.energies(), of.magnetizations(), sites=24, every=1)
        object.__setattr__(measured, "series", of)
        found.append(reweight(measured, 1, [2.2 * J, 2.9 * J], field=0.25 * J, blocks=3))
    one, two = found
    np.testing.assert_allclose(two.energy.mean, 2 * one.energy.mean, rtol=1e-12)
    np.testing.assert_allclose(two.energy.error, 2 * one.energy.error, rtol=1e-10)
    np.testing.assert_allclose(two.susceptibility.mean, one.susceptibility.mean / 2, rtol=1e-11)
    for name in ("magnetization", "abs_magnetization", "specific_heat", "binder"):
        np.testing.assert_allclose(getattr(two, name).mean, getattr(one, name).mean, rtol=1e-10, err_msg=name)
    np.testing.assert_allclose(two.overlap, one.overlap, rtol=1e-12)


class _Sampler:
    """Three lattices whose energy above the ground falls as 1 / √t."""

    def __init__(self, L, temperature, replicas, *, J, **options):
        self.J, self.sweeps, self.shape, self.replicas = J, 0, (1, replicas, 999, 999), replicas
        self.ground = -2.0 * J if temperature == 0 else float(quench_module.onsager_energy(temperature, J))
        self.spins = np.ones((1, replicas, 2, 2), np.int8)

    def sweep(self, count):
        self.sweeps += count

    def energy(self):
        shares = np.array([0.9, 1.0, 1.1])
        return self.ground + 4 * self.J * 0.125 * shares[None] / math.sqrt(self.sweeps)

    def magnetization(self):
        return np.array([[0.4, -0.5, -0.6]])


@pytest.mark.parametrize("J", [1.0, 3.0])
@pytest.mark.parametrize("T", [0.0, 1.2])
def test_domains_of_a_quench(monkeypatch, J, T):
    """L = 1 / ⟨(e - e₀) / 4 J⟩: walls a bond cost 2 J, and there are two bonds a site."""
    monkeypatch.setattr(quench_module, "IsingSampler", _Sampler)
    found = quench_module.quench(999, T * J, sweeps=100, replicas=3, J=J, pictures=2)
    np.testing.assert_allclose(found.lengths, 8 * np.sqrt(found.times), rtol=1e-10)
    np.testing.assert_allclose(found.errors / found.lengths, 0.1 / math.sqrt(3), rtol=1e-9)  # deviation of .9, 1, 1.1
    assert found.exponent == (pytest.approx(0.5, rel=1e-9), pytest.approx(0.0, abs=1e-9))
    assert found.striped == pytest.approx(1 / 3)  # |m| < 0.5; 0.5 itself is not
    assert (found.times[0], found.times[-1], found.fitted) == (1, 100, (8, 100))
    assert found.picture_times == [1, 100]


def test_cold_small_tori_keep_their_digits():
    """K = 1.5 on 8 × 6, from 40 decimal digits: what is left of differences of float64 has 13."""
    T = 1 / 1.5
    assert float(kaufman_specific_heat(T, (8, 6))) == pytest.approx(0.0008947344794273429, rel=1e-14)
    assert float(kaufman_energy(T, (8, 6))) == pytest.approx(-1.9999504780408905, rel=1e-15)
    assert float(kaufman_energy(3 * T, (8, 6), 3.0)) == pytest.approx(3 * -1.9999504780408905, rel=1e-15)

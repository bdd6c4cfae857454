import math

import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.ising import exact
from grokfast.ising.enumeration import state_table

TC = exact.critical_temperature()


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3), (3, 4), (4, 4), (2, 7), (5, 3)])
@pytest.mark.parametrize("T", [0.5, 1.3, TC, 2.5, 4.0, 30.0, math.inf])
def test_kaufman_equals_enumeration(shape, T):
    listed = exact.enumerated_averages(shape, T)
    assert exact.kaufman_log_partition(T, shape) == pytest.approx(listed.log_partition, rel=1e-12)
    assert exact.kaufman_energy(T, shape) == pytest.approx(listed.energy, rel=1e-10, abs=1e-13)
    assert exact.kaufman_specific_heat(T, shape) == pytest.approx(listed.specific_heat, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("J", [0.5, 2.0])
def test_coupling_scales(J):
    listed = exact.enumerated_averages((4, 3), 2.1, J=J)
    assert exact.kaufman_energy(2.1, (4, 3), J) == pytest.approx(listed.energy, rel=1e-10)
    assert exact.onsager_energy(2.0 * J, J) == pytest.approx(J * exact.onsager_energy(2.0), rel=1e-13)
    assert exact.critical_temperature(J) == pytest.approx(J * TC)


def test_known_values():
    assert pytest.approx(2.269185314213022) == TC
    assert exact.onsager_energy(TC) == pytest.approx(-math.sqrt(2.0), abs=1e-7)
    assert exact.kaufman_energy(TC, 64) == pytest.approx(-1.42394, abs=6e-6)
    assert exact.spontaneous_magnetization(2.0) == pytest.approx(0.9113193, abs=1e-7)
    assert exact.spontaneous_magnetization([TC + 1e-6, 5.0, math.inf]).tolist() == [0.0, 0.0, 0.0]
    # Ferdinand and Fisher: at Tc, (E + √2 J N) L / N J tends to a constant, -0.6226 for a square torus.
    assert (exact.kaufman_energy(TC, 512) + math.sqrt(2)) * 512 == pytest.approx(-0.6226, abs=2e-3)


def test_kaufman_tends_to_onsager():
    T = np.array([1.0, 1.5, 2.0, 2.6, 3.5, 10.0])
    np.testing.assert_allclose(exact.kaufman_energy(T, 256), exact.onsager_energy(T), atol=1e-12)
    np.testing.assert_allclose(exact.kaufman_specific_heat(T, 256), exact.onsager_specific_heat(T), rtol=1e-7)


@pytest.mark.parametrize("function", [exact.onsager_energy, lambda T: exact.kaufman_energy(T, 24)])
def test_specific_heat_is_the_derivative_of_the_energy(function):
    heat = (
        exact.onsager_specific_heat
        if function is exact.onsager_energy
        else (lambda T: exact.kaufman_specific_heat(T, 24))
    )
    for T in (0.7, 1.4, 2.1, 2.4, 3.3, 8.0):
        step = 1e-4 * T
        slope = (function(T + step) - function(T - step)) / (2 * step)
        assert heat(T) == pytest.approx(slope, rel=2e-6)


def test_free_energy_gives_energy_and_entropy():
    T = np.linspace(0.3, 6.0, 40)
    step = 1e-5
    f = exact.kaufman_free_energy(T, (16, 12))
    entropy = -(exact.kaufman_free_energy(T + step, (16, 12)) - exact.kaufman_free_energy(T - step, (16, 12)))
    np.testing.assert_allclose(f + T * entropy / (2 * step), exact.kaufman_energy(T, (16, 12)), atol=1e-8)


@pytest.mark.parametrize("shape", [2, 3, 16, (8, 64), 1024])
def test_stable_at_every_temperature(shape):
    T = np.concatenate([np.geomspace(1e-3, 1e9, 49), [TC, TC * (1 + 1e-12), TC * (1 - 1e-12)]])
    energy = exact.kaufman_energy(T, shape)
    heat = exact.kaufman_specific_heat(T, shape)
    assert np.isfinite(energy).all()
    assert np.isfinite(heat).all()
    assert (np.diff(energy[:49]) >= -1e-12).all()
    assert (energy >= -2.0).all()
    assert (heat >= 0.0).all()
    hot = T > 1e5  # -2/T (twice the variance of a lattice with double bonds)
    bonds = 2.0 * (2.0 if shape == 2 else 1.0)
    np.testing.assert_allclose(energy[hot], -bonds / T[hot], rtol=1e-4)
    np.testing.assert_allclose(heat[hot], bonds / T[hot] ** 2, rtol=1e-4)
    sides = 2 * [shape] if isinstance(shape, int) else shape
    swapped = exact.kaufman_energy(T, (sides[1], sides[0]))
    np.testing.assert_allclose(energy, swapped, rtol=1e-12)


def test_onsager_at_the_ends():
    T = np.array([1e-3, 0.1, 0.3, 1e3, 1e5, 1e8, math.inf])
    energy, heat = exact.onsager_energy(T), exact.onsager_specific_heat(T)
    np.testing.assert_allclose(energy[:3], -2.0, atol=1e-5)
    np.testing.assert_allclose(energy[3:], [-2e-3, -2e-5, -2e-8, 0.0], rtol=1e-5)
    np.testing.assert_allclose(heat[3:], [2e-6, 2e-10, 2e-16, 0.0], rtol=1e-5)
    assert (heat >= 0).all()
    assert math.isinf(exact.onsager_specific_heat(TC)) or exact.onsager_specific_heat(TC) > 10
    # the low-temperature series joins the closed form at K = 5
    joined = exact.onsager_specific_heat(np.array([1 / 4.9999999, 1 / 5.0000001]))
    assert joined[0] == pytest.approx(joined[1], rel=2e-5)


def test_state_table_by_hand():
    bonds, magnetizations = state_table((2, 2), "open")
    assert bonds[0] == bonds[15] == 4
    assert bonds[0b0110] == bonds[0b1001] == -4
    assert sorted(magnetizations.tolist()) == [-4] + 4 * [-2] + 6 * [0] + 4 * [2] + [4]
    assert exact.enumerated_averages(2, 1.7, field=0.3, J=0.0).magnetization == pytest.approx(math.tanh(0.3 / 1.7))


def test_bad_input():
    for call in (
        lambda: exact.critical_temperature(-1.0),
        lambda: exact.onsager_energy(0.0),
        lambda: exact.onsager_energy("cold"),
        lambda: exact.onsager_specific_heat([1.0, math.nan]),
        lambda: exact.kaufman_energy(2.0, 1),
        lambda: exact.kaufman_energy(-2.0, 4),
        lambda: exact.enumerated_averages(5, 2.0),
        lambda: exact.enumerated_averages(3, 0.0),
        lambda: state_table(3, "twisted"),
    ):
        with pytest.raises(InputError):
            call()

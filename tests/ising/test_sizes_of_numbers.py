"""Energies and temperatures of any size: the same physics in another unit, a limit, or an error; never a warning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.ising import Dynamics, IsingSampler, UnreliableErrorWarning, exact, ising_dataset
from grokfast.ising.analysis import reweight
from grokfast.ising.estimates import QUANTITIES
from grokfast.ising.quench import quench
from grokfast.ising.scan import temperature_scan

TAKES_J: list[Callable[[float], Any]] = [
    lambda J: ising_dataset(L=4, temperatures=3, snapshots=2, sweeps=1, seed=0, J=J),
    lambda J: IsingSampler(4, [2.0], seed=0, J=J),
    lambda J: IsingSampler(4, [2.0], seed=0, field=J),
    lambda J: IsingSampler(4, [2.0], seed=0).set(field=J),
    lambda J: quench(8, J=J, sweeps=8, replicas=2),
    lambda J: temperature_scan([4], [2.0], J=J),
    exact.critical_temperature,
    lambda J: exact.spontaneous_magnetization(2.0, J),
    lambda J: exact.onsager_energy(2.0, J),
    lambda J: exact.onsager_specific_heat(2.0, J),
    lambda J: exact.kaufman_log_partition(2.0, 4, J),
    lambda J: exact.kaufman_free_energy(2.0, 4, J),
    lambda J: exact.kaufman_energy(2.0, 64, J),
    lambda J: exact.kaufman_specific_heat(2.0, 64, J),
    lambda J: exact.enumerated_averages(2, 2.0, J=J),
    lambda J: exact.enumerated_averages(2, 2.0, field=J),
]


@pytest.mark.parametrize("size", [1e308, 1.1e60, 0.9e-60, 5e-324])
def test_energies_beyond_what_errors_need_are_refused(size: float) -> None:
    for take in TAKES_J:
        with pytest.raises(InputError, match=r"(J|field) must be (0 or )?of size 1e-60 to 1e60, got "):
            take(size)


@pytest.mark.parametrize("unit", [2.0**-190, 2.0**190])
@pytest.mark.parametrize("dynamics", list(Dynamics))
@pytest.mark.parametrize("replicas", [2, 40])
def test_the_unit_of_energy_does_not_matter(unit: float, dynamics: Dynamics, replicas: int) -> None:
    """In powers of two not even the last bit."""
    found = []
    for J in (1.0, unit):
        sampler = IsingSampler(
            4, np.array([1.5, 2.5]) * J, replicas, J=J, field=0.1 * J, dynamics=dynamics, seed=1, seeding="seed"
        )
        sampler.sweep(5)
        with pytest.warns(UnreliableErrorWarning):
            measured = sampler.measure(40)
        found.append((measured, reweight(measured, 0, [1.6 * J, 2.0 * J], 0.2 * J), sampler.temper(3)))
    (one, one_elsewhere, one_shares), (other, other_elsewhere, other_shares) = found
    for name in QUANTITIES:
        scale = {"energy": unit, "susceptibility": 1 / unit}.get(name, 1.0)
        for k in range(2):
            assert (getattr(one, name)[k] * scale == getattr(other, name)[k]).all(), name
            assert (getattr(one_elsewhere, name)[k] * scale == getattr(other_elsewhere, name)[k]).all(), name
        assert (one.trust[name].status == other.trust[name].status).all(), name
    assert (one_shares == other_shares).all()


@pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")
@pytest.mark.parametrize("dynamics", list(Dynamics))
@pytest.mark.parametrize("T", [5e-324, 7e-309, 1e-160, 1e-99, 1e160, 1.7e308])
def test_temperatures_of_any_size_are_measured(T: float, dynamics: Dynamics) -> None:
    sampler = IsingSampler(4, [T, min(3 * T, 1.7e308), 2.0], 2, dynamics=dynamics, seed=0)
    sampler.sweep(50)
    measured = sampler.measure(12)
    sampler.temper(2)
    reweight(measured, 0, [2.0, T])
    reweight(measured, 2, [T])
    if T < 1 and dynamics != "metropolis":  # which goes on flipping where nothing is gained
        mean = measured.energy.mean[0]
        assert mean in {-2.0, -1.5, -1.0}  # the ground state or two straight walls, in each of two replicas
        expected = 4 / np.float64(T) / T if mean == -1.5 else 0.0
        assert measured.specific_heat.mean[0] == pytest.approx(expected)
    elif T > 1:
        assert measured.specific_heat.mean[0] == pytest.approx(0, abs=1e-300)


@pytest.mark.parametrize("T", [5e-324, 7e-309, 1e-300, 1e-160])
def test_exact_results_of_the_coldest(T: float) -> None:
    found = exact.enumerated_averages(2, T)
    assert (found.energy, found.specific_heat, found.abs_magnetization) == (-2, 0, 1)
    assert found.log_partition == exact.kaufman_log_partition(T, 2) == 8 / np.float64(max(T, 1e-307)) or T < 1e-307
    assert exact.enumerated_averages(2, 1e-3, field=1e-3).magnetization == pytest.approx(np.tanh(4.0), rel=1e-14)
    assert exact.spontaneous_magnetization(T) == 1
    assert exact.onsager_energy(T) == exact.kaufman_energy(T, 64) == exact.kaufman_energy(T, 3) == -2
    assert exact.onsager_specific_heat(T) == exact.kaufman_specific_heat(T, 64) == 0


@pytest.mark.parametrize("T", [1e160, 1.7e308])
def test_exact_results_of_the_hottest(T: float) -> None:
    found = exact.enumerated_averages(2, T)
    assert found.log_partition == pytest.approx(4 * np.log(2), rel=1e-14)
    assert found.specific_heat == pytest.approx(0, abs=1e-300)
    assert found.square_magnetization == pytest.approx(0.25, rel=1e-14)


def test_an_enumeration_is_of_one_temperature() -> None:
    with pytest.raises(InputError, match="temperature must be one number"):
        exact.enumerated_averages(2, [1.0, 2.0])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="field must be a finite number"):
        exact.enumerated_averages(2, 1.0, field=float("nan"))

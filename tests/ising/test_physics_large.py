"""Energies against Kaufman's torus and Onsager's plane, with errors from the data."""

import numpy as np
import pytest

from grokfast.ising import IsingSampler
from grokfast.ising.exact import critical_temperature, kaufman_energy, kaufman_specific_heat, onsager_energy

# Two replicas of 60 measurements are short at some temperatures; the scores allow for it.
pytestmark = pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")

TC = critical_temperature()
SEEDS = range(10)

# L, sweeps to equilibrium at Tc from all up (several L^2.17), measurements, sweeps between them, replicas
REPLICA = [(8, 500, 60, 30, 256), (16, 3000, 60, 60, 128), (32, 10000, 60, 200, 64), (64, 30000, 40, 500, 64)]


def energy_scores(L, T, seed, stats, *, burn, n, every, replicas, exact, **options):
    sampler = IsingSampler(L, T, replicas, init="up", seed=seed, **options)
    sampler.sweep(burn)
    measured = sampler.measure(n, every)
    t = (measured.energy.mean - exact(np.asarray(T), L)) / measured.energy.error
    return sampler, measured, list(stats.as_normal(t, measured.trust["energy"].freedom))


def run_replicas(L, burn, n, every, replicas, dynamics, seeds, stats):
    scores = []
    for seed in seeds:
        sampler, measured, z = energy_scores(
            L, [1.9, TC, 2.7], seed, stats, burn=burn, n=n, every=every, replicas=replicas,
            exact=kaufman_energy, dynamics=dynamics,
        )  # fmt: skip
        assert sampler.layout == "replica"
        scores += z
        heat = measured.specific_heat
        t = (heat.mean - kaufman_specific_heat(measured.temperatures, L)) / heat.error
        scores += list(stats.as_normal(t, measured.trust["specific_heat"].freedom))
    stats.check_scores(scores)


@pytest.mark.parametrize(("L", "burn", "n", "every", "replicas"), REPLICA)
def test_replica_coding_against_kaufman(L, burn, n, every, replicas, stats):
    run_replicas(L, burn, n, every, replicas, "metropolis", [11], stats)


def test_glauber_against_kaufman(stats):
    run_replicas(16, 5000, 60, 100, 128, "glauber", [12], stats)


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
@pytest.mark.parametrize(("L", "burn", "n", "every", "replicas"), REPLICA)
def test_replica_coding_against_kaufman_on_ten_seeds(L, burn, n, every, replicas, dynamics, stats):
    run_replicas(L, 2 * burn, n, 2 * every, replicas, dynamics, SEEDS, stats)


def run_sites(dynamics, seeds, stats):
    scores = []
    for seed in seeds:
        sampler, _, z = energy_scores(
            128, [1.8, 2.1, 2.4, 3.0], seed, stats, burn=4000, n=60, every=100, replicas=8,
            exact=kaufman_energy, dynamics=dynamics, layout="site",
        )  # fmt: skip
        scores += z
        for L, T in ((256, [1.9, 2.6]), ((384, 256), [3.2]), (1024, [2.8])):
            burn, n, every = (600, 32, 15) if L == 1024 else (1500, 40, 50)
            sampler, _, z = energy_scores(
                L, T, seed, stats, burn=burn, n=n, every=every, replicas=2,
                exact=lambda t, _: onsager_energy(t), dynamics=dynamics,
            )  # fmt: skip
            assert sampler.layout == "site"
            scores += z
    stats.check_scores(scores)


@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
def test_site_coding_against_kaufman_and_onsager(dynamics, stats):
    run_sites(dynamics, [21], stats)


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
def test_site_coding_against_kaufman_and_onsager_on_ten_seeds(dynamics, stats):
    run_sites(dynamics, SEEDS, stats)


@pytest.mark.parametrize("dynamics", ["wolff", "swendsen-wang"])
def test_clusters_against_kaufman(dynamics, stats):
    _, measured, z = energy_scores(
        32,
        [2.2, TC],
        31,
        stats,
        burn=300,
        n=300,
        every=3,
        replicas=8,
        exact=kaufman_energy,
        dynamics=dynamics,
    )
    stats.check_scores(z)
    # They hardly slow down at Tc, where single flips take hundreds of sweeps.
    assert (measured.energy_time < 25).all()


def test_local_dynamics_slows_down_at_the_transition():
    sampler = IsingSampler(32, [1.8, TC, 3.5], 64, init="up", seed=5)
    sampler.sweep(3000)
    times = sampler.measure(400, 10).magnetization_time
    assert times[1] > 3 * times[0]
    assert times[1] > 3 * times[2]

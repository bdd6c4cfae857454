"""Intervals of every quantity hold the exact value as often as they say, where they call themselves reliable."""

import math
import warnings

import numpy as np
import pytest

from grokfast.ising import IsingSampler, UnreliableErrorWarning
from grokfast.ising.enumeration import state_table
from grokfast.ising.exact import critical_temperature, kaufman_energy, kaufman_specific_heat

TC = critical_temperature()
COPIES = 400


def magnetization_distribution(L, T):
    """P(M) on an L × L torus, and M from -L² to L²: a transfer matrix of polynomials in exp(M), spin by spin."""
    K, states = 1.0 / T, 1 << L
    spins = 2 * ((np.arange(states)[:, None] >> np.arange(L)) & 1) - 1
    m = spins.sum(axis=1)
    row = np.exp(K * ((spins * np.roll(spins, 1, axis=1)).sum(axis=1) - L))

    def least_turn(s):
        return min(((s << k) | (s >> (L - k))) & (states - 1) for k in range(L))

    firsts, weight = np.unique([least_turn(s) for s in range(states)], return_counts=True)
    N = L * L
    paths = np.zeros((firsts.size, states, 2 * N + 1))
    paths[np.arange(firsts.size), firsts, N + m[firsts]] = row[firsts]
    unlike = math.exp(-2.0 * K)
    for _ in range(L - 1):
        for x in range(L):
            old = paths.reshape(firsts.size, states >> (x + 1), 2, 1 << x, -1)
            up, down = old[:, :, 0], old[:, :, 1]
            paths = np.stack([up + down * unlike, up * unlike + down], axis=2).reshape(paths.shape)
        paths = np.stack([np.roll(paths[:, s] * row[s], m[s], axis=-1) for s in range(states)], axis=1)
    close = np.exp(K * (spins[firsts] @ spins.T - L))
    p = weight @ np.einsum("fs,fsm->fm", close, paths)
    return p / p.sum(), np.arange(-N, N + 1)


def exact(L, T):
    p, M = magnetization_distribution(L, T)
    size, square, fourth = p @ np.abs(M), p @ M**2.0, p @ M**4.0
    return {
        "energy": float(kaufman_energy(T, L)),
        "specific_heat": float(kaufman_specific_heat(T, L)),
        "abs_magnetization": size / L**2,
        "susceptibility": (square - size**2) / (L**2 * T),
        "binder": 1.0 - fourth / (3.0 * square**2),
    }


def measure(T, n, replicas, seed):
    """Each "temperature" is an independent copy of one experiment."""
    sampler = IsingSampler(8, np.full(COPIES, T), replicas, dynamics="glauber", init="up", seed=seed)
    sampler.sweep(1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreliableErrorWarning)
        return sampler.measure(n, every=2, progress=False)


def check(T, n, replicas, seed):
    measured = measure(T, n, replicas, seed)
    for name, truth in exact(8, T).items():
        reliable = measured.trust[name].status == "reliable"
        assert reliable.mean() > 0.8, name
        for level in (0.68, 0.95):
            low, high = measured.interval(name, level)
            share = ((low <= truth) & (truth <= high))[reliable].mean()
            allowed = 3.5 * math.sqrt(level * (1 - level) / reliable.sum())
            assert abs(share - level) < allowed, (name, T, level, share)


def test_the_transfer_matrix_agrees_with_the_listing_of_all_states():
    for T in (1.5, 4.0):
        p, M = magnetization_distribution(4, T)
        bonds, moments = state_table((4, 4), "periodic")
        weights = np.exp(bonds / T)
        levels, index = np.unique(moments, return_inverse=True)
        expected = np.bincount(index, weights / weights.sum())
        np.testing.assert_allclose(p[np.isin(M, levels)], expected, rtol=1e-12)
        assert p[~np.isin(M, levels)].sum() == 0.0


@pytest.mark.parametrize("T", [TC, 3.0])
def test_intervals_of_single_chains_hold_the_truth(T):
    check(T, 2000, 1, seed=21)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(22, 27))
@pytest.mark.parametrize(
    ("T", "n", "replicas"), [(TC, 2000, 1), (3.0, 2000, 1), (2.1, 20000, 1), (TC, 200, 32), (3.0, 200, 32)]
)
def test_intervals_hold_the_truth_on_more_seeds_with_replicas_and_in_the_ordered_phase(T, n, replicas, seed):
    check(T, n, replicas, seed)


def test_rare_events_make_a_series_short():
    """Below Tc most of χ of a small lattice comes from rare reversals, of which a short chain sees few."""
    measured = measure(1.9, 2000, 1, seed=31)
    truth = exact(8, 1.9)["susceptibility"]
    low, high = measured.interval("susceptibility", 0.95)
    assert ((low <= truth) & (truth <= high)).mean() < 0.85  # what the error alone would promise
    trust = measured.trust["susceptibility"]
    assert (trust.ratio > 100).mean() > 0.9  # long enough by its autocorrelation time
    assert (trust.status == "short").mean() > 0.65
    assert (measured.trust["energy"].status == "reliable").mean() > 0.95

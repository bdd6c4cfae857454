"""Intervals of every quantity hold the exact value as often as they say, where they call themselves reliable."""

import math
import warnings

import numpy as np
import pytest

from grokfast.ising import IsingSampler, UnreliableErrorWarning
from grokfast.ising._events import count_events
from grokfast.ising.enumeration import state_table
from grokfast.ising.exact import critical_temperature, kaufman_energy, kaufman_specific_heat
from grokfast.ising.rare import few_events
from grokfast.ising.series import Series

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
        "magnetization": 0.0,
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


def check(T, n, replicas, seed, *, sign_is_slow):
    """``sign_is_slow``: M turns over too rarely for most of the chains to call it reliable; those that do are right."""
    measured = measure(T, n, replicas, seed)
    for name, truth in exact(8, T).items():
        reliable = measured.trust[name].status == "reliable"
        if name == "magnetization" and sign_is_slow:
            assert reliable.mean() < 0.5
            if not reliable.any():
                continue
        else:
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
    check(T, 2000, 1, seed=21, sign_is_slow=T == TC)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(22, 27))
@pytest.mark.parametrize(
    ("T", "n", "replicas", "sign_is_slow"),
    [
        (TC, 2000, 1, True),
        (TC, 5000, 1, True),
        (TC, 20000, 1, False),
        (3.0, 2000, 1, False),
        (2.1, 20000, 1, True),
        (TC, 200, 32, True),
        (TC, 1000, 32, False),
        (3.0, 200, 32, False),
    ],
)
def test_intervals_hold_the_truth_on_more_seeds_with_replicas_and_in_the_ordered_phase(
    T, n, replicas, sign_is_slow, seed
):
    check(T, n, replicas, seed, sign_is_slow=sign_is_slow)


NEED_PASSAGES = ("abs_magnetization", "specific_heat", "susceptibility", "binder")


@pytest.mark.parametrize("T", [1.7, 1.9])
def test_a_chain_that_saw_few_reversals_is_short(T):
    """Below Tc a good part of χ of a small lattice comes from rare passages between the signs of M."""
    measured = measure(T, 2000, 1, seed=31)
    truth = exact(8, T)["susceptibility"]
    low, high = measured.interval("susceptibility", 0.95)
    assert ((low <= truth) & (truth <= high)).mean() < 0.85  # what the error alone would promise
    assert (measured.trust["susceptibility"].ratio > 100).mean() > 0.9  # long enough by its autocorrelation time
    for name in ("magnetization", *NEED_PASSAGES):
        assert (measured.trust[name].status == "short").all(), name
    assert (measured.trust["energy"].status == "reliable").mean() > 0.95


def held(values, known):
    """Values ``[R, n]`` where known, and the last known one elsewhere."""
    last = np.maximum.accumulate(np.where(known, np.arange(known.shape[1]), 0), axis=1)
    return np.take_along_axis(values, last, axis=1)


@pytest.mark.parametrize("kind", [np.int32, np.float64])
def test_events_are_counted_as_the_plain_twin_counts_them(kind):
    rng = np.random.default_rng(3)
    for _ in range(100):
        R, n = rng.integers(1, 40), rng.integers(1, 60)
        moments = rng.integers(-10, 11, (n, 2, R)).astype(kind)[:, 1]  # not contiguous, as in a series
        m = moments.T * 0.1
        large, small = np.abs(m) > 0.45, np.abs(m) < 0.25
        between, up = held(small, small | large), held(m > 0.0, large)
        expected = (between[:, 1:] & ~between[:, :-1]).sum(), (up[:, 1:] != up[:, :-1]).sum()
        assert count_events(moments, 0.1, 0.25, 0.45) == expected


def rare_of(m, T=1.0, sites=64, field=0.0, long=6.0):
    """Whether passages and reversals of a series ``[R, n]`` of one temperature are few."""
    m = np.asarray(m, dtype=float)
    series = Series(np.array([T]), np.zeros((m.shape[1], 1, m.shape[0])), m.T[:, None], 1.0, sites, 1.0, field)
    passages, reversals = few_events(series, np.array([np.abs(m).mean()]), np.array([(m**2).mean()]), long=long)
    return bool(passages[0]), bool(reversals[0])


def test_passages_and_reversals_are_counted_over_replicas():
    rng = np.random.default_rng(1)
    up = 0.9 + 0.05 * rng.normal(size=(4, 500))
    assert rare_of(up) == (True, True)
    assert rare_of(-up) == (True, True)
    assert rare_of(up, field=0.1) == (False, False)  # 64 × 0.9 × 0.1 is more than T: it cannot turn over
    assert rare_of(up, field=1e-3) == (True, True)
    narrow = 0.9 + 0.01 * rng.normal(size=(4, 500))
    assert rare_of(narrow) == (False, True)  # walls have no weight, but the sign of M is not known
    assert rare_of(narrow, sites=16) == (True, True)
    turning = up.copy()
    turning[:, 100:] *= -1
    turning[:, 200:] *= -1
    turning[:, 300:] *= -1
    assert rare_of(turning) == (True, False)  # 3 reversals each, as clusters make them, with nothing between
    assert rare_of(turning, long=6.1) == (True, True)
    turning[:, [100, 101, 200, 300]] = [0.3, 0.5, -0.3, 0.0]
    assert rare_of(turning) == (False, False)  # and 12 passages
    turning[0, 100:102] = 0.9
    assert rare_of(turning) == (True, False)
    assert rare_of(rng.normal(size=(4, 500))) == (False, False)

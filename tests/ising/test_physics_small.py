"""Every path against the listing of all states: means, and the whole histogram of the energy."""

import math

import numpy as np
import pytest

from grokfast.ising import IsingSampler
from grokfast.ising.enumeration import state_table
from grokfast.ising.exact import critical_temperature
from grokfast.ising.word_engine import WordEngine

TC = critical_temperature()
SEEDS = range(10)


def cycling_states(shape):
    """Which states have every local field zero: checkerboard Metropolis flips them as a whole for ever."""
    rows, columns = shape
    states = np.arange(1 << (rows * columns), dtype=np.int64)

    def spin(y, x):
        return 2 * ((states >> ((y % rows) * columns + x % columns)) & 1) - 1

    still = np.ones(states.size, bool)
    for y in range(rows):
        for x in range(columns):
            still &= spin(y - 1, x) + spin(y + 1, x) + spin(y, x - 1) + spin(y, x + 1) == 0
    return still


def exact_levels(shape, T, *, J=1.0, field=0.0, boundary="periodic", without=None):
    """Levels of the energy with their probabilities, and weights, energies and M of all states."""
    bonds, magnetizations = state_table(shape, boundary)
    energy = -J * bonds - field * magnetizations
    weights = np.exp(-(energy - energy.min()) / T)
    if without is not None:
        weights[without] = 0.0
    weights /= weights.sum()
    levels, index = np.unique(np.round(energy, 9), return_inverse=True)
    return levels, np.bincount(index, weights), weights, energy, magnetizations


def scores_of(sampler, exact, stats):
    """Z of ⟨E⟩ and ⟨|M|⟩ over independent replicas, and the p-value of the energy histogram."""
    levels, probabilities, weights, energies, magnetizations = exact
    sites = sampler.shape[2] * sampler.shape[3]
    energy = np.round(sampler.energy()[0] * sites, 9)
    M = np.round(sampler.magnetization()[0] * sites)
    z = stats.independent_scores([energy, np.abs(M)], [energies, np.abs(magnetizations)], weights)
    return z, stats.histogram_p(energy, levels, probabilities)


def run_four_by_four(seeds, dynamics, temperatures, stats, replicas=65536):
    scores, p_values = [], []
    without = cycling_states((4, 4)) if dynamics == "metropolis" else None
    if without is not None:
        assert without.sum() == 36
    for T in temperatures:
        exact = exact_levels((4, 4), T, without=without)
        for seed in seeds:
            sampler = IsingSampler(4, T, replicas, dynamics=dynamics, init="up", seed=seed)
            assert sampler.layout == "replica"
            sampler.sweep(150)
            z, p = scores_of(sampler, exact, stats)
            scores += z
            p_values.append(p)
    assert min(p_values) > 1e-4
    assert stats.fisher(p_values) > 1e-3
    stats.check_scores(scores)


@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
def test_replica_coding_against_all_states(dynamics, stats):
    run_four_by_four([101, 102], dynamics, (1.5, TC, 3.5, 12.0), stats)


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
def test_replica_coding_against_all_states_on_ten_seeds(dynamics, stats):
    run_four_by_four(SEEDS, dynamics, (1.2, 1.5, 2.0, TC, 2.6, 3.5, 6.0, 12.0, 30.0), stats, 262144)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
def test_rare_correction_keeps_detailed_balance_at_few_bits(bits, dynamics, stats, monkeypatch):
    """With so few bits nearly all of the probability comes from the correction."""
    make = WordEngine.__init__
    monkeypatch.setattr(WordEngine, "__init__", lambda self, problem, layout: make(self, problem, layout, bits))
    without = cycling_states((4, 4)) if dynamics == "metropolis" else None
    for T in (1.7, 2.9):
        sampler = IsingSampler(4, T, 32768, dynamics=dynamics, init="up", seed=bits)
        assert sampler._engine._log_stay == math.log1p(-(2.0**-bits))
        sampler.sweep(100)
        z, p = scores_of(sampler, exact_levels((4, 4), T, without=without), stats)
        stats.check_scores(z)
        assert p > 1e-4


def test_temperatures_share_words_without_mixing(stats):
    """1,000 temperatures in neighbouring bits: each keeps its own distribution."""
    T = np.tile([1.3, 2.2, 5.0, 80.0], 5000)
    sampler = IsingSampler(4, T, dynamics="glauber", init="up", seed=4)
    sampler.sweep(120)
    energy = sampler.energy()[:, 0]
    z = []
    for i in range(4):
        levels, probabilities, _, _, _ = exact_levels((4, 4), T[i])
        mine = energy[i::4] * 16
        z.append((mine.mean() - probabilities @ levels) / (mine.std() / math.sqrt(mine.size)))
    stats.check_scores(z)


PLAIN = [
    ({"L": (4, 4)}, "metropolis", 2.0),
    ({"L": (4, 4)}, "glauber", 3.0),
    ({"L": (3, 3)}, "glauber", 2.0),
    ({"L": (3, 5)}, "glauber", 2.5),
    ({"L": (3, 4), "field": 0.3}, "metropolis", 2.5),
    ({"L": (4, 4), "field": -0.2, "J": 0.7}, "glauber", 1.9),
    ({"L": (4, 4), "J": -1.0, "field": 0.1}, "metropolis", 2.2),
    ({"L": (4, 3), "J": -1.0, "field": 0.1}, "glauber", 2.2),
    ({"L": (3, 5), "boundary": "open"}, "metropolis", 1.8),
    ({"L": (4, 3), "boundary": "open", "field": 0.15, "J": -0.8}, "glauber", 1.8),
    ({"L": (2, 6)}, "glauber", 2.5),
    ({"L": (2, 3), "J": 0.0, "field": 0.5}, "glauber", 1.0),
    ({"L": (4, 4)}, "wolff", 2.0),
    ({"L": (3, 5)}, "wolff", 3.0),
    ({"L": (4, 3), "boundary": "open"}, "wolff", 2.2),
    ({"L": (4, 4)}, "swendsen-wang", 2.0),
    ({"L": (2, 5), "J": 1.4}, "swendsen-wang", 3.0),
    ({"L": (3, 4), "boundary": "open"}, "swendsen-wang", 2.2),
]


def run_plain(options, dynamics, T, seeds, stats, replicas):
    settings = {key: value for key, value in options.items() if key != "L"}
    exact = exact_levels(
        options["L"],
        T,
        J=options.get("J", 1.0),
        field=options.get("field", 0.0),
        boundary=options.get("boundary", "periodic"),
        without=cycling_states((4, 4)) if (dynamics, options) == ("metropolis", {"L": (4, 4)}) else None,
    )
    scores, p_values = [], []
    for seed in seeds:
        sampler = IsingSampler(
            options["L"], T, replicas, dynamics=dynamics, init="up", seed=seed, layout="scalar", **settings
        )
        sampler.sweep(100)
        z, p = scores_of(sampler, exact, stats)
        scores += z
        p_values.append(p)
    stats.check_scores(scores)
    assert stats.fisher(p_values) > 1e-3


@pytest.mark.parametrize(("options", "dynamics", "T"), PLAIN)
def test_plain_path_and_clusters_against_all_states(options, dynamics, T, stats):
    run_plain(options, dynamics, T, [7], stats, 4000)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "dynamics", "T"), PLAIN)
def test_plain_path_and_clusters_on_ten_seeds(options, dynamics, T, stats):
    run_plain(options, dynamics, T, SEEDS, stats, 20000)


def test_infinite_temperature_draws_fresh_spins(stats):
    for dynamics in ("metropolis", "glauber", "swendsen-wang"):
        sampler = IsingSampler(4, [math.inf, 0.01], 30000, dynamics=dynamics, init="up", seed=3)
        sampler.sweep(1)
        first = sampler.spins
        assert (first[1] == 1).all() or dynamics == "swendsen-wang"
        sampler.sweep(1)
        second = sampler.spins
        correlation = (first[0].astype(float) * second[0]).mean() * math.sqrt(first[0].size)
        assert abs(correlation) < 4
        levels, probabilities, _, _, _ = exact_levels((4, 4), math.inf)
        assert stats.histogram_p(sampler.energy()[0] * 16, levels, probabilities) > 1e-4

"""Fields, open edges, antiferromagnets and steering against the listing of all states."""

import itertools
import math

import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.ising import IsingSampler
from grokfast.ising.enumeration import state_table

CASES = [
    *itertools.product(["replica", "site"], ["metropolis", "glauber"], [1.0, -1.0], [0.3, -0.7], ["periodic", "open"]),
    *itertools.product(["replica", "site"], ["metropolis", "glauber"], [1.0, -1.0], [0.0], ["open"]),
    *itertools.product(["replica", "site"], ["glauber"], [-1.0], [0.0], ["periodic"]),
]


def exact(shape, T, J=1.0, field=0.0, boundary="periodic"):
    """Energies and magnetisations of all states with their probabilities."""
    bonds, M = state_table(shape, boundary)
    E = -J * bonds - field * M
    weights = np.exp(-(E - E.min()) / T)
    return E, M, weights / weights.sum()


def scores(sampler, i, T, stats, **physics):
    """Z of ⟨E⟩, ⟨|M|⟩, ⟨M⟩ over replicas, and the p-value of the histogram of E."""
    E, M, weights = exact(sampler.shape[2:], T, **physics)
    sites = sampler.shape[2] * sampler.shape[3]
    energy, magnetization = sampler.energy()[i] * sites, np.round(sampler.magnetization()[i] * sites)
    values = [energy, np.abs(magnetization), magnetization]
    z = stats.independent_scores(values, [E, np.abs(M), M], weights)
    levels, index = np.unique(np.round(E, 6), return_inverse=True)
    nearest = levels[np.abs(levels[:, None] - energy).argmin(axis=0)]
    assert np.abs(nearest - energy).max() < 1e-5
    return z, stats.histogram_p(nearest, levels, np.bincount(index, weights))


def run(cases, seeds, replicas, stats):
    z, p = [], []
    for (layout, dynamics, J, h, boundary), seed in itertools.product(cases, seeds):
        for shape in [(4, 4), *([(3, 4)] if boundary == "open" and layout == "replica" else [])]:
            sampler = IsingSampler(
                shape, 2.3, replicas, dynamics=dynamics, J=J, field=h, boundary=boundary, seed=seed, layout=layout
            )
            sampler.sweep(250)
            new, chance = scores(sampler, 0, 2.3, stats, J=J, field=h, boundary=boundary)
            z += new
            p.append(chance)
    assert stats.fisher(p) > 1e-3
    stats.check_scores(z)


@pytest.mark.parametrize("layout", ["replica", "site"])
def test_word_kernels_against_all_states(layout, stats):
    run([case for case in CASES if case[0] == layout], [5], 8192 if layout == "replica" else 300, stats)


def test_a_rare_state_makes_no_large_score(stats):
    E, M, weights = exact((4, 4), 2.3, field=-0.7)
    expected = 3000 * weights[M > 0].sum()
    assert 1.0 < expected < 2.0
    rng = np.random.default_rng(1)
    z = []
    for _ in range(200):
        drawn = rng.choice(E.size, 3000, p=weights)
        z += stats.independent_scores([E[drawn], np.abs(M)[drawn], M[drawn]], [E, np.abs(M), M], weights)
    stats.check_scores(z)


@pytest.mark.slow
def test_word_kernels_against_all_states_on_ten_seeds(stats):
    run([case for case in CASES if case[0] == "replica"], range(10), 65536, stats)
    run([case for case in CASES if case[0] == "site"], range(10), 3000, stats)


def test_temperatures_and_fields_share_words_without_mixing(stats):
    T = np.tile([2.4, 3.0, 5.0, 80.0], 1500)
    sampler = IsingSampler(4, T, field=0.2, boundary="open", dynamics="glauber", seed=4)
    sampler.sweep(400)
    z = []
    for i in range(4):
        E, _, weights = exact((4, 4), T[i], field=0.2, boundary="open")
        mine = sampler.energy()[i::4, 0] * 16
        z.append((mine.mean() - weights @ E) / (mine.std() / math.sqrt(mine.size)))
    stats.check_scores(z)


@pytest.mark.parametrize("rows", [4, 6, 100, 130, 190, 254, 510])
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_any_even_number_of_rows_packs_and_counts(rows, boundary):
    spins = np.random.default_rng(rows).choice(np.array([-1, 1], np.int8), (2, rows, 6))
    options = {"init": spins, "boundary": boundary, "J": -1.0, "field": 0.2, "seed": 1}
    site, plain = (IsingSampler((rows, 6), 2.0, 2, layout=layout, **options) for layout in ("site", "scalar"))
    np.testing.assert_array_equal(site.spins[0], spins)
    np.testing.assert_allclose(site.energy(), plain.energy(), atol=1e-12)
    np.testing.assert_array_equal(site.magnetization(), plain.magnetization())
    np.testing.assert_array_equal(site.staggered_magnetization(), plain.staggered_magnetization())


def test_uneven_rows_sample_kaufmans_torus(stats):
    from grokfast.ising.exact import kaufman_energy

    z = []
    for rows in (100, 130, 134):
        sampler = IsingSampler((rows, 8), 2.8, 300, seed=rows, layout="site", init="up")
        sampler.sweep(150)
        energy = sampler.energy()[0]
        z.append((energy.mean() - float(kaufman_energy(2.8, (rows, 8)))) / (energy.std() / math.sqrt(300)))
    stats.check_scores(z)


@pytest.mark.parametrize("dynamics", ["wolff", "swendsen-wang"])
def test_the_ghost_spin_is_the_field(dynamics, stats):
    z, p = [], []
    for field, boundary in ((0.2, "periodic"), (-0.05, "periodic"), (0.4, "open")):
        sampler = IsingSampler((3, 4), 2.4, 4000, dynamics=dynamics, field=field, boundary=boundary, seed=7)
        sampler.sweep(80)
        new, chance = scores(sampler, 0, 2.4, stats, field=field, boundary=boundary)
        z += new
        p.append(chance)
    stats.check_scores(z)
    assert stats.fisher(p) > 1e-3


@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
def test_random_order_against_all_states(dynamics, stats):
    sampler = IsingSampler((3, 4), [3.0, 4.0], 4000, dynamics=dynamics, order="random", field=0.1, seed=7)
    sampler.sweep(200)
    for i, T in enumerate((3.0, 4.0)):
        z, p = scores(sampler, i, T, stats, field=0.1)
        stats.check_scores(z)
        assert p > 1e-4


@pytest.mark.parametrize("layout", ["replica", "scalar", "site"])
def test_setting_in_place_goes_on_with_the_same_random_numbers(layout):
    options = {"dynamics": "glauber", "layout": layout, "seed": 3}
    sampler = IsingSampler(8, [2.0, 3.0], 3, **options)
    sampler.sweep(4)
    before = sampler.state()
    sampler.set(temperatures=[2.5, 1.0], field=0.3)
    after = sampler.state()
    np.testing.assert_array_equal(before["states"], after["states"])
    assert sampler.temperatures.tolist() == [2.5, 1.0]
    sampler.set(temperatures=[2.0, 3.0], field=0.0)
    sampler.sweep(3)
    untouched = IsingSampler.from_state(before)
    untouched.sweep(3)
    np.testing.assert_array_equal(sampler.spins, untouched.spins)
    sampler.set(field=0.5)
    spins = sampler.spins.astype(float)
    bonds = (spins * np.roll(spins, 1, -1) + spins * np.roll(spins, 1, -2)).mean((-1, -2))
    np.testing.assert_allclose(sampler.energy(), -bonds - 0.5 * spins.mean((-1, -2)), atol=1e-12)
    saved = IsingSampler.from_state(sampler.state())
    for each in (sampler, saved):
        each.sweep(2)
    np.testing.assert_array_equal(saved.spins, sampler.spins)


def test_what_is_set_is_sampled(stats):
    sampler = IsingSampler((3, 4), [5.0, 1.0], 6000, dynamics="glauber", layout="scalar", seed=3)
    sampler.sweep(20)
    sampler.set(temperatures=[3.0, 4.0], field=0.25)
    sampler.sweep(250)
    for i, T in enumerate((3.0, 4.0)):
        z, p = scores(sampler, i, T, stats, field=0.25)
        stats.check_scores(z)
        assert p > 1e-4


def test_annealing_orders_what_a_quench_leaves_divided():
    quenched = IsingSampler(16, 0.5, 300, dynamics="glauber", seed=2)
    quenched.sweep(200)
    annealed = IsingSampler(16, 4.0, 300, dynamics="glauber", seed=2)
    energies = annealed.anneal([(T, 20) for T in np.linspace(4.0, 0.5, 10)])
    assert energies.shape == (10, 1, 300)
    assert (np.diff(energies.mean(axis=(1, 2))) < 0).all()
    np.testing.assert_array_equal(energies[-1], annealed.energy())
    assert annealed.temperatures.tolist() == [0.5]
    assert annealed.energy().mean() < quenched.energy().mean()
    before = annealed.state()
    for schedule in ([(1.0, 5), (-1.0, 5)], [(1.0, -1)], [([1.0, 2.0], 1)], [3.0]):
        with pytest.raises(InputError):
            annealed.anneal(schedule)
    for name, array in annealed.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("layout", ["replica", "scalar"])
def test_exchanges_keep_the_joint_distribution(layout, stats):
    """Detailed balance: from equilibrium, exchanges alone leave every temperature in its own distribution."""
    T = [3.0, 1.8, 2.3]  # in any order
    sampler = IsingSampler((4, 3) if layout == "scalar" else (4, 4), T, 5000, dynamics="glauber", layout=layout, seed=5)
    sampler.sweep(250)
    before = sampler.spins
    rates = sampler.temper(20, every=0)
    after = sampler.spins
    assert rates.shape == (2,)
    np.testing.assert_array_equal(np.sort(before.sum((0, 2, 3))), np.sort(after.sum((0, 2, 3))))  # swaps, nothing else
    z, p = [], []
    for i, t in enumerate(T):
        new, chance = scores(sampler, i, t, stats)
        z += new
        p.append(chance)
    stats.check_scores(z)
    assert stats.fisher(p) > 1e-3
    shape = sampler.shape[2:]
    for k, (cold, hot) in enumerate(((1.8, 2.3), (2.3, 3.0))):
        E, _, w = exact(shape, cold)
        levels, index = np.unique(E, return_inverse=True)
        a = np.bincount(index, w)
        b = np.bincount(index, exact(shape, hot)[2])
        gain = (1 / cold - 1 / hot) * (levels[:, None] - levels)
        expected = (a[:, None] * b * np.minimum(1.0, np.exp(gain))).sum()
        # The replicas' offers are repeated, so that they are not independent: a wide bound.
        assert abs(rates[k] - expected) < 4 * math.sqrt(expected * (1 - expected) / 5000)


def test_tempering_samples_every_temperature_and_is_reproducible(stats):
    T = [1.8, 2.2, 2.8, 4.0]
    sampler = IsingSampler((3, 4), T, 4000, init="down", dynamics="glauber", layout="scalar", seed=5)
    sampler.temper(21, every=4)
    half = IsingSampler.from_state(sampler.state())
    for each in (sampler, half):
        each.temper(40, every=4)
    np.testing.assert_array_equal(half.spins, sampler.spins)
    for i, t in enumerate(T):
        z, p = scores(sampler, i, t, stats)
        stats.check_scores(z)
        assert p > 1e-4
    edge = IsingSampler(4, [0.0, 1.0, math.inf], 10, dynamics="glauber", seed=1)
    assert np.isfinite(edge.temper(4)).all()
    for call in (
        lambda: sampler.temper(0),
        lambda: sampler.temper(1, -1),
        lambda: IsingSampler(4, 1.0, seed=0).temper(1),
    ):
        with pytest.raises(InputError):
            call()


def test_bad_settings_change_nothing():
    sampler = IsingSampler(4, [1.0, 2.0], seed=0)
    for options in ({"temperatures": [1.0, 2.0, 3.0]}, {"temperatures": -1.0}, {"field": math.nan}, {"field": "up"}):
        with pytest.raises(InputError):
            sampler.set(**options)
    assert sampler.temperatures.tolist() == [1.0, 2.0]
    sampler.set(temperatures=3.0)
    assert sampler.temperatures.tolist() == [3.0, 3.0]

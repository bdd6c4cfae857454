"""``measure`` sees what looking after every few sweeps would see, in every layout, and leaves the same lattices."""

import itertools

import numpy as np
import pytest

from grokfast.ising import IsingSampler
from grokfast.ising.word_engine import WordEngine

pytestmark = pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")

SHAPES = [
    ("replica", (16, 16), 70),
    ("replica", (6, 10), 600),
    ("replica", (5, 4), 300),
    ("replica", (2, 2), 5),
    ("replica", (4, 34), 130),
    ("replica", (64, 64), 64),
    ("replica", (3, 32), 512),
    ("site", (128, 64), 2),
    ("site", (100, 36), 2),
    ("site", (4, 6), 3),
]


def samplers(layouts, L, R, J, field, boundary):
    spins = np.random.default_rng(R).choice(np.array([-1, 1], np.int8), (2, R, *L))
    return [
        IsingSampler(L, [2.0, 3.0], R, J=J, field=field, boundary=boundary, seed=1, layout=layout, init=spins)
        for layout in layouts
    ]


@pytest.mark.parametrize(("layout", "L", "R"), SHAPES)
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_words_are_counted_as_spins_are(layout, L, R, boundary):
    if L[0] % 2 and boundary == "periodic":
        return
    for J, field in itertools.product((1.0, -1.0), (0.0, 0.3)):
        words, plain = samplers((layout, "scalar"), L, R, J, field, boundary)
        np.testing.assert_allclose(words.energy(), plain.energy(), atol=1e-12)
        np.testing.assert_array_equal(words.magnetization(), plain.magnetization())
        np.testing.assert_array_equal(words.staggered_magnetization(), plain.staggered_magnetization())
        looked = IsingSampler.from_state(words.state())
        measured = words.measure(5, 2, progress=False)
        for i in range(5):
            looked.sweep(2)
            np.testing.assert_allclose(measured.energies[:, :, i], looked.energy(), atol=1e-12)
            np.testing.assert_allclose(measured.magnetizations[:, :, i], looked.magnetization(), atol=1e-12)
        np.testing.assert_array_equal(words.spins, looked.spins)


@pytest.mark.parametrize("options", [{"threads": 2, "replicas": 1100}, {"threads": 2, "L": 512, "layout": "site"}])
def test_threads_do_not_change_what_is_measured(options):
    base = {"L": 16, "temperatures": [2.0, 2.5], "seed": 2, **options}
    many, one = IsingSampler(**base), IsingSampler(**{**base, "threads": 1})
    a, b = (sampler.measure(8, 3, progress=False) for sampler in (many, one))
    np.testing.assert_array_equal(a.energies, b.energies)
    np.testing.assert_array_equal(a.magnetizations, b.magnetizations)


def test_pieces_do_not_change_what_is_measured(monkeypatch):
    from grokfast.ising import lattices

    whole, cut, looked = (IsingSampler(16, [2.0, np.inf], 100, seed=8) for _ in range(3))
    finite, pieces = (IsingSampler(16, [2.0, 2.4], 100, seed=8) for _ in range(2))
    a, c = whole.measure(20, 2, progress=False), finite.measure(20, 2, progress=False)
    monkeypatch.setattr(
        lattices, "_ATTEMPTS_BETWEEN_SIGNALS", dict.fromkeys(lattices.Layout, 8 * 16 * 16 * 200 * 2 * 3)
    )
    record, rounds = pieces._engine.record, []
    monkeypatch.setattr(
        pieces._engine, "record", lambda every, *rest: (rounds.append(len(rest[0])), record(every, *rest))
    )
    b, d = cut.measure(20, 2, progress=False), pieces.measure(20, 2, progress=False)
    assert rounds == [3] * 6 + [2]
    for i in range(20):
        looked.sweep(2)
        np.testing.assert_allclose(a.energies[:, :, i], looked.energy(), atol=1e-12)  # fresh spins at T = ∞ each time
    for first, second in ((a, b), (c, d)):
        np.testing.assert_array_equal(first.energies, second.energies)
        np.testing.assert_array_equal(first.energy.error, second.energy.error)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_an_interrupt_of_a_measurement_leaves_no_lattice_behind(threads, fail_at, monkeypatch):
    case = {"L": 16, "temperatures": [2.0, 2.5], "replicas": 900, "seed": 3}
    sampler = IsingSampler(**case, threads=threads)
    work, calls = WordEngine._record_block, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        work(self, *arguments)

    monkeypatch.setattr(WordEngine, "_record_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sampler.measure(10, 3, progress=False)
    monkeypatch.undo()
    assert sampler.sweeps == 30
    fresh = IsingSampler(**case)
    fresh.sweep(30)
    np.testing.assert_array_equal(sampler.spins, fresh.spins)

"""The public interface: reproducibility, shapes, saved states, bad input."""

import io
import math

import numpy as np
import pytest

from grokfast.errors import GrokfastError, InputError
from grokfast.ising import Dynamics, IsingSampler, Layout

# One case for each kernel and way to divide the work among threads.
CASES = {
    "blocks of replicas": {"L": 16, "temperatures": [1.5, 2.3, math.inf], "replicas": 700},
    "strips of replicas": {"L": 256, "temperatures": [2.3], "replicas": 64, "layout": "replica"},
    "strips of a lattice": {"L": 1024, "temperatures": [2.3, math.inf]},
    "small lattices": {"L": (128, 64), "temperatures": [1.5, 2.3, 4.0], "layout": "site"},
    "plain": {"L": 20, "temperatures": [2.0, math.inf], "replicas": 40, "layout": "scalar"},
    "odd": {"L": (5, 7), "temperatures": [2.0, 3.0], "replicas": 300},
    "wolff": {"L": 24, "temperatures": [2.0, 3.0], "replicas": 40, "dynamics": "wolff"},
    "swendsen-wang": {"L": 24, "temperatures": [2.0, 3.0], "replicas": 40, "dynamics": "swendsen-wang"},
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=["metropolis", "glauber"])
def local(request, case):
    """The case, with both dynamics if it has local ones."""
    if "dynamics" in case:
        return case
    return {**case, "dynamics": request.param}


def test_same_bits_for_any_threads_and_any_cutting(local):
    whole = IsingSampler(**local, seed=8, threads=1)
    whole.sweep(12)
    for threads, pieces in ((2, [12]), (3, [12]), (5, [1, 0, 4, 7]), (1, [5, 5, 2])):
        other = IsingSampler(**local, seed=8, threads=threads)
        for n in pieces:
            other.sweep(n)
        np.testing.assert_array_equal(other.spins, whole.spins)
    assert whole.sweeps == other.sweeps == 12
    different = IsingSampler(**local, seed=9, threads=1)
    different.sweep(12)
    assert (different.spins != whole.spins).any()


def test_long_sweeps_are_cut_without_a_trace(monkeypatch):
    from grokfast.ising import lattices as module

    whole = IsingSampler(16, 2.0, 100, seed=8)
    whole.sweep(7)
    monkeypatch.setattr(module, "_ATTEMPTS_BETWEEN_SIGNALS", dict.fromkeys(Layout, 16 * 16 * 100 * 3))
    cut = IsingSampler(16, 2.0, 100, seed=8)
    pieces = []
    sweep = cut._engine.sweep
    monkeypatch.setattr(cut._engine, "sweep", lambda n, *rest: (pieces.append(n), sweep(n, *rest)))
    cut.sweep(7)
    assert pieces == [3, 3, 1]
    assert cut.sweeps == 7
    np.testing.assert_array_equal(cut.spins, whole.spins)


@pytest.mark.parametrize("dynamics", list(Dynamics))
def test_coldest_and_hottest(dynamics):
    sampler = IsingSampler(8, [5e-324, 1e-3, 1e300, math.inf], 64, dynamics=dynamics, init="up", seed=0)
    sampler.sweep(3)
    assert (np.abs(sampler.energy()[:2] + 2.0) == 0).all()
    assert np.isfinite(sampler.energy()).all()


def test_threads_are_really_used(monkeypatch):
    from grokfast.ising import word_engine

    used = []
    run = word_engine.run_together
    monkeypatch.setattr(word_engine, "run_together", lambda tasks: (used.append(len(tasks)), run(tasks)))
    IsingSampler(1024, 2.3, seed=0).sweep(4)  # not over rows unless asked to
    assert used == []
    IsingSampler(1024, 2.3, seed=0, threads=3).sweep(4)
    assert used == [3]


def test_saved_state_goes_on_as_if_never_stopped(local):
    sampler = IsingSampler(**local, seed=8, threads=1)
    sampler.sweep(5)
    file = io.BytesIO()
    np.savez(file, **sampler.state())
    file.seek(0)
    before = sampler.spins
    with np.load(file, allow_pickle=False) as saved:
        restored = IsingSampler.from_state(saved, threads=2)
    np.testing.assert_array_equal(restored.spins, before)
    assert restored.sweeps == 5
    assert restored.shape == sampler.shape
    assert restored.layout is sampler.layout
    assert restored.dynamics is sampler.dynamics
    for each in (sampler, restored):
        each.sweep(7)
    np.testing.assert_array_equal(restored.spins, sampler.spins)
    np.testing.assert_array_equal(restored.energy(), sampler.energy())
    assert (sampler.spins != before).any()


def test_state_is_a_copy():
    sampler = IsingSampler(16, 2.0, 64, seed=0)
    state = sampler.state()
    first = IsingSampler.from_state(state).spins
    sampler.sweep(3)
    np.testing.assert_array_equal(IsingSampler.from_state(state).spins, first)


def test_energy_and_magnetization_per_site_follow_the_definition(case):
    sampler = IsingSampler(**case, seed=2, J=1.5)
    sampler.sweep(2)
    s = sampler.spins.astype(np.int64)
    bonds = s * np.roll(s, 1, axis=-1) + s * np.roll(s, 1, axis=-2)
    np.testing.assert_allclose(sampler.energy(), -1.5 * bonds.mean(axis=(-1, -2)), atol=1e-12)
    np.testing.assert_allclose(sampler.magnetization(), s.mean(axis=(-1, -2)), atol=1e-12)


def test_energy_with_field_and_open_edges():
    spins = np.random.default_rng(0).choice([-1, 1], (2, 3, 4, 5))
    sampler = IsingSampler((4, 5), [1.0, 2.0], 3, J=-0.5, field=0.25, boundary="open", init=spins, seed=0)
    bonds = (spins[..., 1:, :] * spins[..., :-1, :]).sum((-1, -2))
    bonds += (spins[..., :, 1:] * spins[..., :, :-1]).sum((-1, -2))
    expected = (0.5 * bonds - 0.25 * spins.sum((-1, -2))) / 20
    np.testing.assert_allclose(sampler.energy(), expected, atol=1e-12)


@pytest.mark.parametrize("layout", ["replica", "scalar", "site"])
def test_initial_configurations(layout):
    def start(init, shape=(128, 4), R=3):
        return IsingSampler(shape, [2.0, 3.0], R, init=init, seed=5, layout=layout)

    assert (start("up").spins == 1).all()
    assert (start("down").spins == -1).all()
    assert (start("checkerboard").energy() == 2.0).all()
    assert start("checkerboard").spins[0, 0, 0, 0] == 1
    np.testing.assert_array_equal(start("random").spins, IsingSampler((128, 4), [2.0, 3.0], 3, seed=5).spins)
    random = start("random").spins
    assert abs(random.mean()) < 4 / math.sqrt(random.size)
    one = np.random.default_rng(1).choice([-1.0, 1.0], (128, 4))
    assert (start(one).spins == one).all()
    np.testing.assert_array_equal(start(random).spins, random)
    each = random[:, :1]
    np.testing.assert_array_equal(start(each).spins, np.broadcast_to(each, random.shape))


def test_types_and_packed_views():
    sampler = IsingSampler(16, np.linspace(1, 3, 5), 150, seed=1)
    assert sampler.spins.dtype == np.int8
    assert sampler.spins.shape == sampler.shape == (5, 150, 16, 16)
    assert sampler.energy().dtype == sampler.magnetization().dtype == np.float64
    assert sampler.energy().shape == sampler.magnetization().shape == (5, 150)
    layout, words = sampler.packed
    assert layout is Layout.REPLICA
    assert np.shares_memory(words, sampler._engine._words)
    assert not words.flags.writeable
    bits = np.unpackbits(
        np.moveaxis(words, -1, 1).copy().view(np.uint8).reshape(*words.shape[:1], words.shape[-1], -1, 8),
        axis=-1,
        bitorder="little",
    ).reshape(words.shape[0] * words.shape[-1], 2, 16, 8, 64)
    lattices = np.moveaxis(bits, -1, 1).reshape(-1, 2, 16, 8)[:750]
    flat = sampler.spins.reshape(-1, 16, 16)
    for color in range(2):
        for y in range(16):
            np.testing.assert_array_equal(2 * lattices[:, color, y].astype(int) - 1, flat[:, y, (y + color) % 2 :: 2])
    layout, words = IsingSampler((256, 4), 2.0, seed=1).packed
    assert layout is Layout.SITE
    assert words.shape == (1, 2, 4, 2, 1)
    column = (words[0, 1, 3, 1, 0] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    spins = IsingSampler((256, 4), 2.0, seed=1).spins[0, 0]
    np.testing.assert_array_equal(2 * column.astype(int) - 1, spins[3::4, 2])
    layout, words = IsingSampler(5, 2.0, seed=1).packed
    assert layout is Layout.SCALAR
    assert words.shape == (1, 5, 1)
    assert "IsingSampler(16 x 16, 5 temperatures, 150 replicas, metropolis" in repr(sampler)


def test_memory_is_refused_before_it_is_taken():
    with pytest.raises(InputError, match=r"would take .* (GiB|TiB) of memory, and .* are available"):
        IsingSampler(10**7, 2.0, seed=0)
    with pytest.raises(InputError, match="replicas"):
        IsingSampler(16, 2.0, 10**15, seed=0)
    sampler = IsingSampler(16, 2.0, 64, seed=0)
    with pytest.raises(InputError, match="series"):
        sampler.measure(10**12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperatures": -0.5}, "temperatures must be >= 0"),
        ({"temperatures": -1.0}, "temperatures"),
        ({"temperatures": [2.0, math.nan]}, "nan"),
        ({"temperatures": []}, "non-empty"),
        ({"temperatures": [[1.0]]}, "shape"),
        ({"temperatures": "warm"}, "warm"),
        ({"L": 1}, "L must be"),
        ({"L": (16, 1)}, "L must be"),
        ({"L": (16, 16, 16)}, "L must be"),
        ({"L": 16.0}, "L must be"),
        ({"L": True}, "L must be"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": 2.5}, "replicas"),
        ({"dynamics": "metropolish"}, "did you mean 'metropolis'"),
        ({"boundary": "twisted"}, "boundary"),
        ({"init": "updown"}, "init"),
        ({"init": np.zeros((16, 16))}, "-1 or 1"),
        ({"init": np.ones((16, 15))}, "broadcast"),
        ({"init": np.ones(16)}, "init"),
        ({"init": np.ones((16, 16), dtype=bool)}, "init"),
        ({"init": 2 * np.ones((16, 16), dtype=int)}, "init"),
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"threads": 0}, "threads"),
        ({"J": math.inf}, "J must"),
        ({"field": math.nan}, "field must"),
        ({"J": "one"}, "J must"),
        ({"dynamics": "wolff", "order": "random"}, "no order"),
        ({"dynamics": "swendsen-wang", "J": -1.0}, "needs J >= 0"),
        ({"layout": "site", "L": (5, 4)}, "an even Ly"),
        ({"layout": "replica", "order": "random"}, "checkerboard order"),
        ({"layout": "replica", "L": 5}, "even"),
        ({"layout": "fast"}, "layout"),
    ],
)
def test_bad_input(options, message):
    arguments = {"L": 16, "temperatures": 2.0, "seed": 0, **options}
    with pytest.raises(InputError, match=message):
        IsingSampler(**arguments)


def test_bad_calls():
    sampler = IsingSampler(16, 2.0, seed=0)
    for call in (
        lambda: sampler.sweep(-1),
        lambda: sampler.sweep(1.5),
        lambda: sampler.measure(1),
        lambda: sampler.measure(10, 0),
        lambda: IsingSampler.from_state({}),
        lambda: IsingSampler.from_state({"config": np.frombuffer(b"not json", np.uint8)}),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("words"),
        lambda state: state.update(words=state["words"][:, :1]),
        lambda state: state.update(states=state["states"].astype(np.int64)),
        lambda state: state.update(temperatures=np.array([math.nan])),
        lambda state: state.update(config=np.frombuffer(state["config"].tobytes().replace(b'"J"', b'"K"'), np.uint8)),
        lambda state: state.update(
            config=np.frombuffer(state["config"].tobytes().replace(b'"version": 2', b'"version": 9'), np.uint8)
        ),
        lambda state: state.update(config=state["config"][:-5]),
    ],
)
def test_damaged_state_is_refused(damage):
    state = IsingSampler(16, 2.0, 64, seed=0).state()
    damage(state)
    with pytest.raises(GrokfastError):
        IsingSampler.from_state(state)


def test_names_are_strings():
    assert Dynamics("swendsen-wang") is Dynamics.SWENDSEN_WANG
    assert IsingSampler(16, 2.0, seed=0, dynamics=Dynamics.GLAUBER).dynamics == "glauber"
    assert IsingSampler(16, 2.0, seed=0).temperatures.tolist() == [2.0]
    assert IsingSampler(16, 2.0, seed=0, threads=3).threads == 3
    assert IsingSampler(16, 2.0, seed=0).threads >= 1

"""The word kernels compute, bit for bit, what the plain reference does with the same masks."""

import math

import numpy as np
import pytest

from grokfast.ising import _masks, _scalar
from grokfast.ising._ladder import draw_masks_plainly, ladder_bits
from grokfast.ising._rng import next_uniform, next_word, splitmix64
from grokfast.ising.engine import Problem, words_abreast
from grokfast.ising.kinds import Boundary, Dynamics, Layout
from grokfast.ising.layouts import choose_layout
from grokfast.ising.word_engine import WordEngine
from grokfast.ising.word_shapes import block_shape


def problem(rows, columns, temperatures, dynamics="glauber", key=5):
    return Problem(rows, columns, np.asarray(temperatures, float), Dynamics(dynamics), Boundary.PERIODIC, 1.0, 0.0, key)


def random_spins(shape, seed=0):
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), shape)


def test_splitmix64_and_xoshiro_by_their_published_definition():
    # The first outputs of Vigna's splitmix64.c for seed 1234567.
    assert splitmix64(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    state = np.array([1, 2, 3, 4], dtype=np.uint64)
    # By hand: 1 + 4; then s = (1^4^2, 2^3^1, 3^1^(2<<17), rotl(4^2, 45)) = (7, 0, 262146, 6<<45).
    assert next_word(state) == 5
    assert state.tolist() == [7, 0, 262146, 6 << 45]
    assert next_word(state) == 7 + (6 << 45)
    draws = np.array([next_uniform(state) for _ in range(20000)])
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    assert abs(draws.mean() - 0.5) < 4 * math.sqrt(1 / 12 / draws.size)


def test_draw_masks_equals_its_plain_twin():
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**64, (2, _masks.STEPS + 1, _masks.LANES), dtype=np.uint64)
    state = splitmix64(9, _masks.STATE).copy()
    plain_state = state.copy()
    one, four, half = (np.zeros(48, np.uint64) for _ in range(3))
    _masks.draw_masks(state, bits, one, four, half)
    expected = draw_masks_plainly(plain_state, bits, 48)
    assert list(zip(one.tolist(), four.tolist(), half.tolist(), strict=True)) == expected
    np.testing.assert_array_equal(state, plain_state)


def lattice_masks(masks, engine, color, shape):
    """The masks that a whole block's word kernel applies, as bool ``[lattices, Ly, Lx]``."""
    _, _, height, row = engine._words.shape
    W, height = engine._width, height - 2
    n = row - 2 * W
    as_bits = np.unpackbits(masks.view(np.uint8), bitorder="little").reshape(-1, 64)[: height * n]
    sites = as_bits.reshape(height, n // W, W, 64).astype(bool)
    if engine.layout is Layout.SITE:
        rows = np.moveaxis(sites[:, :, 0], -1, 0).reshape(1, 64 * height, n)
    else:
        rows = np.moveaxis(sites, (2, 3), (0, 1)).reshape(-1, height, n // W)
    full = np.zeros((rows.shape[0], rows.shape[1], 2 * rows.shape[2]), bool)
    for y in range(full.shape[1]):
        full[:, y, (y + color) & 1 :: 2] = rows[:, y]
    assert full.shape[1:] == shape[1:]
    return full[: shape[0]]


@pytest.mark.parametrize("dynamics", ["metropolis", "glauber"])
@pytest.mark.parametrize(
    ("layout", "rows", "columns", "count"),
    [
        ("site", 128, 128, 1),
        ("site", 128, 4, 1),
        ("site", 256, 6, 2),
        ("site", 1280, 260, 1),
        ("replica", 4, 4, 512),
        ("replica", 6, 10, 130),
        ("replica", 2, 2, 5),
        ("replica", 2, 34, 64),
        ("replica", 40, 128, 64),
    ],
)
def test_sweeps_equal_the_reference_with_the_same_masks(layout, rows, columns, count, dynamics):
    case = problem(rows, columns, np.linspace(1.0, 4.0, count), dynamics)
    engine = WordEngine(case, Layout(layout), bits=3)
    spins = random_spins((count, rows, columns))
    engine.load(spins)
    np.testing.assert_array_equal(engine.spins(), spins)
    lanes = 1 if layout == "site" else 64 * engine._width
    states = engine._states.copy()
    engine.sweep(2, threads=1)
    for block in range(states.shape[0]):
        mine = spins[block * lanes : (block + 1) * lanes]
        table = engine._tables.of_block[block]
        n = engine._words.shape[3] - 2 * engine._width
        height = engine._words.shape[2] - 2
        for color in (0, 1, 0, 1):
            drawn = [[], [], []]
            for strip, state in enumerate(states[block]):
                words = min(engine._strip, height - strip * engine._strip) * n
                for start in range(0, words, _masks.CHUNK):
                    size = min(_masks.CHUNK, -(-(words - start) // 16) * 16)
                    one, four, half = (np.zeros(size, np.uint64) for _ in range(3))
                    _masks.draw_masks(state, engine._tables.plain[table].bits, one, four, half)
                    _masks.correct_masks(state, engine._tables.plain[table].redraw, engine._log_stay, one, four)
                    for masks, new in zip(drawn, (one, four, half), strict=True):
                        masks.append(new[: min(size, words - start)])
            one, four, half = (lattice_masks(np.concatenate(masks), engine, color, mine.shape) for masks in drawn)
            for i, lattice in enumerate(mine):
                _scalar.half_sweep_masked(lattice, color, dynamics == "glauber", one[i], four[i], half[i])
    np.testing.assert_array_equal(engine.spins(), spins)
    np.testing.assert_array_equal(engine._states, states)


def test_plain_sweep_equals_the_masked_reference():
    """The plain path's random numbers, as masks: u < exp(-4/T) and u < exp(-8/T)."""
    T, shape = 2.2, (6, 10)
    spins = random_spins(shape, 4)
    masked = spins.copy()
    state = splitmix64(3, 4).copy()
    replay = state.copy()
    _scalar.sweep_scalar(spins, state, _scalar.flip_table(T, 1.0, 0.0, False), True, True, 3, np.zeros(1, np.int64))
    for color in (0, 1) * 3:
        u = np.ones(shape)
        for y in range(shape[0]):
            for x in range((y + color) & 1, shape[1], 2):
                u[y, x] = next_uniform(replay)
        one, four = u < math.exp(-4 / T), u < math.exp(-8 / T)
        _scalar.half_sweep_masked(masked, color, False, one, four, four)
    np.testing.assert_array_equal(spins, masked)
    np.testing.assert_array_equal(state, replay)


@pytest.mark.parametrize("periodic", [True, False])
def test_neighbour_sum_is_the_sum_of_neighbours(periodic):
    spins = random_spins((3, 5), 6).astype(np.int64)
    padded = np.pad(spins, 1, mode="wrap") if periodic else np.pad(spins, 1)
    expected = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    for y, x in np.ndindex(3, 5):
        assert _scalar.neighbour_sum(spins.astype(np.int8), y, x, periodic) == expected[y, x]


@pytest.mark.parametrize(("layout", "rows"), [("site", 128), ("replica", 10)])
def test_counts_equal_the_reference(layout, rows):
    case = problem(rows, 6, np.full(150, 2.0))
    engine = WordEngine(case, Layout(layout))
    spins = random_spins((150, rows, 6), 3)
    spins[0] = 1
    engine.load(spins)
    bonds, magnetizations = engine.counts()
    sums = np.empty((3, 150), np.int64)
    _scalar.count_scalar(spins, True, sums)
    np.testing.assert_array_equal(bonds, sums[0])
    np.testing.assert_array_equal(bonds, (spins * (np.roll(spins, 1, 1) + np.roll(spins, 1, 2))).sum((1, 2)))
    np.testing.assert_array_equal(magnetizations, sums[1] + sums[2])
    np.testing.assert_array_equal(engine.staggered(), sums[1] - sums[2])
    assert (bonds[0], magnetizations[0]) == (2 * rows * 6, rows * 6)


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_corrected_masks_have_the_exact_probability(bits):
    """Each lane has its own temperature: the frequency of its masks is p, one by one and together."""
    T = np.concatenate([np.geomspace(0.8, 60.0, 63), [math.inf]])
    engine = WordEngine(problem(4, 4, T, "metropolis", key=bits), Layout.REPLICA, bits=bits)
    W = engine._width
    state = engine._states[0, 0]
    counts = np.zeros((2, 64))
    draws = 0
    for _ in range(400):
        one, four, half = (np.zeros(512, np.uint64) for _ in range(3))
        _masks.draw_masks(state, engine._tables.plain[0].bits, one, four, half)
        _masks.correct_masks(state, engine._tables.plain[0].redraw, engine._log_stay, one, four)
        for i, masks in enumerate((one, four)):
            lanes = np.unpackbits(masks[::W].copy().view(np.uint8), bitorder="little").reshape(-1, 64)
            counts[i] += lanes.sum(axis=0)
        draws += lanes.shape[0]
    p = np.exp(-np.array([[4.0], [8.0]]) / T)
    assert (counts[:, 63] == draws).all()
    z = (counts - draws * p)[:, :63] / np.sqrt(draws * p * (1 - p))[:, :63]
    assert np.abs(z).max() < 4.5
    assert abs((z**2).sum() - z.size) < 4.5 * math.sqrt(2 * z.size)


def test_truncated_probabilities_would_be_seen():
    """The test above has teeth: without the correction, few bits are far off."""
    p = np.exp(-4.0 / np.geomspace(0.8, 60.0, 63))
    for bits in (1, 2, 4):
        n = np.floor(p * 2**bits)
        draws = 400 * 64
        assert np.abs((n / 2**bits - p) / np.sqrt(p * (1 - p) / draws)).max() > 30
        assert (ladder_bits(n.astype(int), bits).shape) == (bits + 1, 63)


def test_layouts_are_chosen_by_size():
    assert choose_layout(problem(16, 16, np.full(1024, 2.0))) is Layout.REPLICA
    assert choose_layout(problem(16, 16, [2.0])) is Layout.SITE
    assert choose_layout(problem(16, 16, [2.0]), as_first=True) is Layout.SCALAR
    assert choose_layout(problem(15, 16, np.full(1024, 2.0))) is Layout.SCALAR
    assert choose_layout(problem(1024, 1024, [2.0])) is Layout.SITE
    assert choose_layout(problem(128, 128, np.full(4, 2.0))) is Layout.SITE
    assert choose_layout(problem(128, 128, np.full(640, 2.0))) is Layout.REPLICA
    assert choose_layout(problem(128, 128, [2.0], "wolff")) is Layout.SCALAR
    for lattices in (1, 64, 65, 300, 512, 1000, 50000):
        for columns in (2, 16, 64, 1024):
            W = words_abreast(lattices, columns)
            blocks, _, n, width = block_shape(problem(4, columns, np.full(lattices, 2.0)), Layout.REPLICA)
            assert width == W
            assert n == columns // 2 * W
            assert blocks * W * 64 >= lattices

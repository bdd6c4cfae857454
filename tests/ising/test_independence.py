"""No correlation between bit lanes or word lanes of the masks, now or a few draws apart.

The measure is made for what ruined an earlier generator: with xorshift64 in the lanes, bits of one word are
correlated by more than a hundred sigma. The last tests show that it would be caught.
"""

import numpy as np
import pytest

from grokfast.ising import _masks
from grokfast.ising._ladder import ladder_bits
from grokfast.ising._rng import splitmix64

FULL = np.uint64(2**64 - 1)
LANES = _masks.LANES


def worst_scores(masks, p, lags=3):
    """Largest |z| of any pair and the chi-square's z, over pairs of bit lanes and pairs of word lanes.

    ``masks`` is uint64 ``[draws, words]``, each bit 1 with probability p if independent.
    """
    draws, words = masks.shape
    bits = np.unpackbits(masks.view(np.uint8), bitorder="little").reshape(draws, words, 64)
    z = ((bits - p) / np.sqrt(p * (1 - p))).astype(np.float32)
    largest, total = 0.0, 0.0
    for lag in range(lags + 1):
        early, late = z[: draws - lag], z[lag:]
        for size, axis in ((64, 2), (words, 1)):
            a = np.moveaxis(early, axis, 0).reshape(size, -1)
            b = np.moveaxis(late, axis, 0).reshape(size, -1)
            scores = a @ b.T / np.sqrt(a.shape[1])
            scores = scores[np.triu_indices(size, 1)] if lag == 0 else scores.ravel()
            largest = max(largest, float(np.abs(scores).max()))
            total = max(total, abs(float((scores**2).sum()) - scores.size) / np.sqrt(2 * scores.size))
    return largest, total


def ladder(words_of_step, n, draws):
    """Masks of probability n / 4096 from the random words of ``words_of_step()``."""
    bits = ladder_bits(n, _masks.STEPS)
    masks = []
    for _ in range(draws):
        a = np.zeros(LANES, np.uint64)
        for c in bits[:-1]:
            a = (a ^ (FULL if c else np.uint64(0))) & words_of_step()
        masks.append(a ^ (FULL if bits[-1] else np.uint64(0)))
    return np.array(masks)


def our_masks(n, draws, seed):
    bits = np.zeros((2, _masks.STEPS + 1, LANES), np.uint64)
    bits[:, ladder_bits(n, _masks.STEPS)] = FULL
    state = splitmix64(seed, _masks.STATE).copy()
    one, four, half = (np.zeros(draws * LANES, np.uint64) for _ in range(3))
    _masks.draw_masks(state, bits, one, four, half)
    return one.reshape(draws, LANES), half.reshape(draws, LANES)


@pytest.mark.parametrize("n", [121, 703, 2047, 2908])
def test_lanes_are_independent(n):
    one, half = our_masks(n, 5000, seed=n)
    for masks, p in ((one, n / 4096), (half, 0.5)):
        largest, total = worst_scores(masks, p)
        assert largest < 5.2  # 20,000 pairs
        assert total < 5.0


def xorshift64(seed):
    state = splitmix64(seed, LANES).copy()

    def step():
        nonlocal state
        state = state ^ (state << np.uint64(13))
        state = state ^ (state >> np.uint64(7))
        state = state ^ (state << np.uint64(17))
        return state

    return step


@pytest.mark.parametrize("n", [703, 2908])
def test_xorshift64_is_caught(n):
    largest, total = worst_scores(ladder(xorshift64(1), n, 3000), n / 4096)
    assert largest > 8.0
    assert total > 8.0


def test_lanes_with_the_same_seed_are_caught():
    def step():
        words = rng.integers(0, 2**64, LANES, dtype=np.uint64)
        words[5] = words[11]
        return words

    rng = np.random.default_rng(0)
    assert worst_scores(ladder(step, 703, 2000), 703 / 4096)[0] > 8.0


def test_blocks_and_seeds_do_not_share_generators():
    keys = [int(np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(1, np.uint64)[0]) for seed in range(50)]
    words = np.concatenate([splitmix64(key, 10_000) for key in keys])
    assert np.unique(words).size == words.size

"""The ladder draws exactly the multiples of 2^-K, and the rare correction makes every probability exact."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokfast.ising._ladder import ladder_bits, mask_probabilities, split_probability
from grokfast.ising.kinds import Dynamics


@pytest.mark.parametrize("K", [1, 2, 3, 5])
def test_ladder_draws_every_multiple_exactly(K):
    """Run the ladder on all 2^K random words: exactly n of them end in a 1."""
    for n in range(2**K + 1):
        bits = ladder_bits(n, K)
        ones = 0
        for words in itertools.product((False, True), repeat=K):
            a = False
            for c, r in zip(bits[:K], words, strict=True):
                a = (a ^ bool(c)) and r
            ones += a ^ bool(bits[K])
        assert ones == n


def test_fewer_bits_are_a_longer_ladder():
    for n in range(9):
        chance = 0.0
        bits = ladder_bits(n << 9, 12)
        for c in bits[:12]:
            chance = (1.0 - chance if c else chance) / 2.0
        assert (1.0 - chance if bits[12] else chance) == n / 8


@given(st.floats(0.0, 1.0), st.integers(1, 14))
def test_split_is_exact(p, K):
    n, g = split_probability(p, K)
    assert 0 <= n <= 2**K
    assert 0.0 <= g <= 1.0
    rate = Fraction(1, 2**K)
    total = (1 - rate) * Fraction(int(n), 2**K) + rate * Fraction(float(g))
    assert abs(float(total - Fraction(p))) <= 2e-16


def test_mask_probabilities():
    T = np.array([0.1, 2.0, 1e6, math.inf])
    metropolis = mask_probabilities(T, 1.5, Dynamics.METROPOLIS)
    np.testing.assert_allclose(metropolis, np.exp(-1.5 * np.array([[4.0], [8.0]]) / T))
    glauber = mask_probabilities(T, 1.5, Dynamics.GLAUBER)
    np.testing.assert_allclose(glauber, 1 / (1 + np.exp(1.5 * np.array([[4.0], [8.0]]) / T)), rtol=1e-12)
    assert metropolis[:, 3].tolist() == [1.0, 1.0]
    assert glauber[:, 3].tolist() == [0.5, 0.5]

"""Rank correlations against scipy, and against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from grokfast.errors import InputError
from grokfast.measures import rank_correlation


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scipy_also_with_ties(seed):
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 6, 30).astype(float), generator.normal(size=30)
    y += 0.3 * x
    found = rank_correlation(x, y, draws=500)
    assert found.mean == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low < found.mean < found.high
    assert found.count == 30


def test_partial_is_the_correlation_of_what_is_left_of_ranks():
    generator = np.random.default_rng(1)
    z = generator.normal(size=60)
    x, y = z + 0.3 * generator.normal(size=60), z + 0.3 * generator.normal(size=60)
    ranks = [stats.rankdata(values) for values in (x, y, z)]
    left = [values - np.polyval(np.polyfit(ranks[2], values, 1), ranks[2]) for values in ranks[:2]]
    found = rank_correlation(x, y, z, draws=500)
    assert found.mean == pytest.approx(np.corrcoef(*left)[0, 1])
    assert found.low < 0 < found.high
    assert rank_correlation(x, y, draws=500).low > 0.6


def test_monotone_transformations_change_nothing():
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, 20))
    assert rank_correlation(np.exp(x), y**3, draws=200) == rank_correlation(x, y, draws=200)


def test_the_interval_covers():
    generator = np.random.default_rng(3)
    inside = 0
    for _ in range(100):
        x, y = generator.normal(size=(2, 25))
        found = rank_correlation(x, y, draws=300)
        inside += found.low <= 0 <= found.high
    assert inside >= 86  # a bootstrap of 25 points covers a little less than 95 of 100


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1, 2, 3], [1, 2, 3], "4 points or more"),
        ([1, 2, 3, 4], [1, 2, 3], "the same"),
        ([1, 2, 3, np.nan], [1, 2, 3, 4], "finite"),
        ([1, 1, 1, 1], [1, 2, 3, 4], "differ"),
    ],
)
def test_bad_points(x, y, words):
    with pytest.raises(InputError, match=words):
        rank_correlation(x, y)

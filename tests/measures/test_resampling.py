from __future__ import annotations

import math

import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.measures import bootstrap, proportion, regression_slope


def test_bootstrap_of_a_mean_covers_it():
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        values = list(generator.normal(3, 1, 12))
        found = bootstrap(values, lambda chosen: float(np.mean(chosen)), draws=400)
        assert found.mean == pytest.approx(np.mean(values))
        inside += found.low <= 3 <= found.high
    assert 170 <= inside <= 198  # of 200; a little too narrow at twelve


def test_bootstrap_of_two_values_has_their_quantiles():
    found = bootstrap([0.0, 1.0], lambda chosen: float(np.mean(chosen)))
    assert (found.low, found.high, found.count) == (0, 1, 2)


def test_bootstrap_without_a_statistic_has_no_interval():
    found = bootstrap([1, 2, 3], lambda chosen: 1.0 if len(set(chosen)) == 3 else math.nan)
    assert math.isnan(found.low)
    with pytest.raises(InputError, match="at least two groups"):
        bootstrap([1], float)


def test_proportion_is_clopper_and_pearson():
    assert proportion(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert proportion(10, 10).low == pytest.approx(0.025**0.1)
    found = proportion(3, 10)  # their table
    assert (found.low, found.high) == (pytest.approx(0.0667, abs=1e-4), pytest.approx(0.6525, abs=1e-4))
    with pytest.raises(InputError, match="0 to 3 successes"):
        proportion(4, 3)


def test_slopes_with_controls():
    generator = np.random.default_rng(1)
    x, z = generator.normal(size=(2, 50))
    y = 2 * x - 3 * z + 5
    assert regression_slope(y, x + z, [z]) == pytest.approx(2)
    assert regression_slope(y, x, [z]) == pytest.approx(2)
    assert regression_slope(y, x) == pytest.approx(np.polyfit(x, y, 1)[0])
    assert math.isnan(regression_slope(y, z, [z]))
    assert math.isnan(regression_slope([1], [1]))
    assert math.isnan(regression_slope([1, 2, 3], [4, 4, 4]))
    with pytest.raises(InputError, match="one length"):
        regression_slope([1, 2, 3], [1, 2])

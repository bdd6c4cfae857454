from __future__ import annotations

import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.measures import Estimate, linear_fit, mean_interval, share_interval


def test_mean_interval_of_known_sample():
    # t(0.975, 4) = 2.776445; the sample has standard deviation sqrt(2.5).
    found = mean_interval([1, 2, 3, 4, 5])
    half = 2.7764451 * np.sqrt(2.5 / 5)
    assert (found.mean, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half))
    assert f"{found:.1f}" == "3.0 [1.0, 5.0]"
    assert f"{mean_interval([2.0]):.1f}" == "2.0 (one value)"
    assert f"{Estimate(2.0, np.nan, np.nan, 3):.1f}" == "2.0 (no interval)"
    assert f"{Estimate(np.nan, np.nan, np.nan, 3):.1f}" == "no value"


def test_mean_interval_covers_at_its_rate():
    rng = np.random.default_rng(0)
    hits = sum(abs(f.mean) <= f.high - f.mean for f in (mean_interval(rng.normal(size=5)) for _ in range(4000)))
    assert abs(hits / 4000 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)


def test_exact_line():
    fit = linear_fit([0, 1, 2, 3], [1, 3, 5, 7])
    assert (fit.slope.mean, fit.intercept.mean, fit.r_squared) == pytest.approx((2, 1, 1))


def test_fit_intervals_and_band_cover_at_their_rate():
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, 8)
    slope_hits = band_hits = 0
    for _ in range(2000):
        fit = linear_fit(x, 2 * x + 1 + rng.normal(size=8))
        slope_hits += fit.slope.low <= 2 <= fit.slope.high
        _, low, high = fit.band([0.25])
        band_hits += low[0] <= 1.5 <= high[0]
    for hits in (slope_hits, band_hits):
        assert abs(hits / 2000 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_rejects():
    with pytest.raises(InputError, match="at least one finite"):
        mean_interval([])
    with pytest.raises(InputError, match="at least one finite"):
        mean_interval([1.0, np.nan])
    with pytest.raises(InputError, match="three finite points"):
        linear_fit([1, 2], [1, 2])
    with pytest.raises(InputError, match="different x"):
        linear_fit([1, 1, 1], [1, 2, 3])


def test_interval_of_shares_of_known_samples():
    # The mean 0.8 of n = 4 with s^2 = 0.02: t(0.975, 3) = 3.1824463 and 0.8 * 0.2 * 4 / 0.02 = 32 trials.
    values = np.array([0.65, 0.75, 0.85, 0.95])
    s2 = ((values - 0.8) ** 2).sum() / 3
    trials, t = 0.16 * 4 / s2, 3.1824463
    wilson = (0.8 + t**2 / (2 * trials) + np.array([-1, 1]) * t * np.sqrt(0.16 / trials + (t / (2 * trials)) ** 2)) / (
        1 + t**2 / trials
    )
    found = share_interval(values)
    assert (found.mean, found.low, found.high, found.count) == pytest.approx((0.8, *wilson, 4))


def test_interval_of_shares_never_leaves_them():
    found = share_interval([1.0, 1.0, 1.0, 1.0, 0.97])
    assert mean_interval([1.0, 1.0, 1.0, 1.0, 0.97]).high > 1
    assert 0.9 < found.low < found.mean < found.high < 1
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = rng.beta(0.3, 0.3, size=rng.integers(2, 6)).round(int(rng.integers(0, 4)))
        found = share_interval(values)
        assert 0 <= found.low <= found.mean + 1e-12
        assert found.mean - 1e-12 <= found.high <= 1
    assert share_interval([1.0, 1.0]) == share_interval([1.0] * 2)
    assert (share_interval([1.0, 1.0]).low, share_interval([1.0, 1.0]).high) == (1, 1)
    assert np.isnan(share_interval([0.5]).low)
    with pytest.raises(InputError, match=r"expected shares in \[0, 1\]"):
        share_interval([0.5, 1.5])


def test_interval_of_shares_covers_at_its_rate():
    rng = np.random.default_rng(2)
    true = 9 / 10
    hits = sum(f.low <= true <= f.high for f in (share_interval(rng.beta(9, 1, size=5)) for _ in range(2000)))
    assert 0.9 < hits / 2000 < 0.99

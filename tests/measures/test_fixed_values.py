"""Every statistic against numbers that other programs gave for the same, lopsided data: they stand here as they came.

SciPy 1.17.1, statsmodels 0.15.0 and arviz-stats 0.8.0; none of them is called here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grokfast.figures.style import band, new_figure
from grokfast.ising.analysis import log_slope
from grokfast.ising.autocorrelation import autocorrelation, student_quantile
from grokfast.learning_coefficient import effective_sample_size, split_r_hat, standard_error
from grokfast.measures import linear_fit, mean_interval, neuron_correlations, proportion, regression_slope
from grokfast.measures.curvature import hutchinson_trace
from grokfast.report.claims.geometry import difference
from grokfast.report.claims.reduce import correlation, decade_slope, r_squared, slope

X = [0.3, 1.1, 1.9, 4.2, 7.7]
Y = [2.0, 1.1, 0.7, -2.4, -3.9]


def ends(estimate):
    return estimate.mean, estimate.low, estimate.high


def test_mean():
    """``statsmodels.stats.api.DescrStatsW(X).tconfint_mean``."""
    assert ends(mean_interval(X)) == pytest.approx((3.04, -0.6659042415246192, 6.745904241524619), rel=1e-12)
    assert ends(mean_interval(X, 0.8))[1:] == pytest.approx((0.9935285522014956, 5.0864714477985045), rel=1e-12)
    assert mean_interval(X).count == 5
    assert mean_interval(X[:2]).count == 2


def test_line():
    """``statsmodels.api.OLS``: ``params``, ``conf_int``, ``rsquared``, ``pvalues``, ``mse_resid``."""
    fit = linear_fit(X, Y)
    assert ends(fit.slope) == pytest.approx((-0.82425909, -1.16305951, -0.48545867), rel=1e-7)
    assert ends(fit.intercept) == pytest.approx((2.00574764, 0.63504975, 3.37644554), rel=1e-7)
    assert fit.r_squared == pytest.approx(0.9523402659302169, rel=1e-12)
    assert fit.p_value == pytest.approx(0.004480671416541027, rel=1e-10)
    assert fit.residual_error == pytest.approx(0.6354815601976936, rel=1e-12)
    assert (fit.slope.count, fit.intercept.count, fit.confidence) == (5, 5, 0.95)
    narrow = linear_fit(X, Y, confidence=0.8)
    assert ends(narrow.slope)[1:] == pytest.approx((-0.99861191, -0.64990628), rel=1e-7)
    assert ends(narrow.intercept)[1:] == pytest.approx((1.30036175, 2.71113354), rel=1e-7)
    assert narrow.confidence == 0.8


def test_band_of_a_line():
    """``get_prediction([-1, 2, 9]).summary_frame()``: mean and the interval of the mean."""
    line, low, high = linear_fit(X, Y).band([-1.0, 2.0, 9.0])
    assert line == pytest.approx([2.8300067355186345, 0.3572294566681633, -5.412584193982937], rel=1e-12)
    assert low == pytest.approx([1.1894288960760568, -0.613420438717841, -7.6251351065346675], rel=1e-12)
    assert high == pytest.approx([4.470584574961212, 1.3278793520541676, -3.2000332814312067], rel=1e-12)


@pytest.mark.parametrize(
    ("successes", "trials", "confidence", "low", "high"),
    [
        (2, 9, 0.95, 0.028144973477898197, 0.6000935737163122),
        (2, 9, 0.8, 0.06076904965076841, 0.490081194445803),
        (8, 11, 0.95, 0.39025744042757876, 0.9397822658270933),
    ],
)
def test_proportion(successes, trials, confidence, low, high):
    """``statsmodels.stats.proportion.proportion_confint(…, method="beta")``."""
    found = proportion(successes, trials, confidence)
    assert ends(found) == pytest.approx((successes / trials, low, high), rel=1e-10)
    assert found.count == trials


def test_slope_under_control():
    """The second of ``OLS(y, [1, x, z]).fit().params``."""
    z = [1.0, -2, 0.5, 3, 1.5, 0.2, -1]
    y = [3.1, -0.4, 2.2, 9.9, 4.0, 1.1, 0.3]
    x = [0.5, 1.5, -1, 2.5, 2, 0.1, -3]
    assert regression_slope(y, x, [z]) == pytest.approx(0.30469672, rel=1e-7)


def test_correlation():
    """``scipy.stats.pearsonr`` and its ``confidence_interval``; R² is its square, with the sign left out."""
    r, low, high = -0.9758792271230169, -0.9984740209746975, -0.6734030360310349
    assert ends(correlation(X, Y)) == pytest.approx((r, low, high), rel=1e-7)
    assert correlation(X, Y).count == 5
    assert ends(r_squared(np.array(X), np.array(Y))) == (0, 0, 0)
    rising = r_squared(np.array(X), -np.array(Y))
    assert ends(rising) == pytest.approx((r**2, high**2, low**2), rel=1e-7)
    found = neuron_correlations(torch.tensor(X)[:, None], torch.tensor([Y, X]).T)
    assert found.tolist() == [pytest.approx([r, 1.0], rel=1e-6)]


def test_slopes_of_claims():
    """As the line above; per decade for x = 10^X."""
    expected = pytest.approx((-0.82425909, -1.16305951, -0.48545867), rel=1e-7)
    assert ends(slope(np.array(X), np.array(Y))) == expected
    assert ends(decade_slope(10 ** np.array(X), np.array(Y))) == expected


def test_difference_of_two_means():
    """``scipy.stats.ttest_ind(…, equal_var=False).confidence_interval()``: Welch."""
    found = difference(np.array([0.8, 0.95, 0.7, 1.4]), np.array([0.2, 0.5]))
    assert ends(found) == pytest.approx((0.6125, -0.061809232696917626, 1.2868092326969176), rel=1e-10)
    assert found.count == 2


def test_autocovariance_and_what_is_summed():
    """``acovf(…, adjusted=True)``: the divisor is n - t; then τ = 1/2 + Σ ρ up to the window, and its error."""
    series = np.array([[1.0, 3, 2, 5, 4, 4, 7, 1, 0, 2, 3, 1]])
    covariance = np.array([3.6875, 0.5624999999999999, -0.28750000000000014, 0.06250000000000006])
    sums = 0.5 + np.cumsum(covariance[1:] / covariance[0])
    for window, cut in ((1.0, 1), (3.0, 2), (4.5, 3)):
        found = autocorrelation(series, window)
        assert found.window == cut
        assert found.variance == pytest.approx(3.6875, rel=1e-12)
        assert found.time == pytest.approx(sums[cut - 1], rel=1e-12)
        assert found.error == pytest.approx(sums[cut - 1] * np.sqrt((4 * cut + 2) / 12), rel=1e-12)
        assert not found.frozen


def test_slope_of_logarithms():
    """``WLS(ln v, [1, ln L], weights=(v / e)²)``: the slope, its error for known weights, and ``mse_resid``."""
    found = log_slope([8, 16, 32], np.array([3.0, 11.0, 35.0]), np.array([0.1, 0.2, 2.0]))
    assert found == pytest.approx((1.81083435, 0.043052442924625726, 3.529874166521295), rel=1e-8)


def test_student():
    """``scipy.stats.t.ppf(0.975, …)``; the approximation says 1 %."""
    exact = [3.1824463052837078, 2.5705818356363146, 2.228138851986274]
    assert student_quantile(0.95, np.array([3.0, 5.0, 10.0])) == pytest.approx(exact, rel=0.013)


CHAINS = [
    [2.0, -0.5, -0.1, -0.7, -1.1, -1.3, -3.4, -3.6, -4.4, -1.1, -0.9],
    [-0.4, -0.6, -1.3, -2.4, -2.7, -2.3, -2.5, -1.5, -1.7, -1.7, -0.2],
    [1.5, 1.0, 0.9, 1.4, 3.3, 3.1, 2.8, 3.8, 2.9, 2.6, 3.5],
]
MIXED = [
    [0.6, 0.1, 0.7, -2.8, 1, -1, -1.7, 0.3, 0.7, -0.4, -1.1, 0, -0.1, 1.4, 0.7, 0.2, 1.1, -0.2, -0.9, 0.6],
    [0.6, -0.2, -0.8, 0.2, -2.5, 0.7, 0.5, -1.6, 0.1, -1, 0.8, -2, -0.9, 0.7, 1.2, -2.2, -0.5, 0.3, -0.6, 1.6],
]


def test_chains():
    """``arviz_stats``: ``rhat(method="split")``; ``ess(method="mean")`` at its bound."""
    assert split_r_hat(np.array(CHAINS)) == pytest.approx(2.2183589036823155, rel=1e-12)
    assert split_r_hat(np.array(MIXED)) == pytest.approx(0.9730146043193294, rel=1e-12)
    assert effective_sample_size(np.array(MIXED)) == pytest.approx(64.08239965311849, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "three", "one"),
    [(0.9, 172.35807857430387, 53.94173205135302), (0.3, 2021.2357694549642, 691.5223512494264)],
)
def test_effective_size_of_chains(step, three, one):
    """``arviz_stats``: ``ess(method="mean")``, which takes lags with the divisor n where the paper has n - 1."""
    chains = []
    for seed in (1, 2, 3):
        noise = np.random.default_rng(seed).normal(size=1200)
        chain = np.zeros(1200)
        for t in range(1, 1200):
            chain[t] = step * chain[t - 1] + noise[t]
        chains.append(chain)
    assert effective_sample_size(np.array(chains)) == pytest.approx(three, rel=2e-3)
    assert effective_sample_size(np.array(chains[:1])) == pytest.approx(one, rel=2e-3)


def test_error_of_a_mean_of_chains():
    """By hand: batches of 2 of one chain of five; then two chains that differ."""
    one = np.array([[9.0, 1, 3, 6, 8]])  # batches (1, 3) and (6, 8): means 2 and 7
    assert standard_error(one) == pytest.approx(np.sqrt(12.5 / 2), rel=1e-12)
    two = np.array([[9.0, 1, 3, 6, 8], [20, 24, 22, 24, 22]])  # chains' means 5.4 and 22.4
    assert standard_error(two) == pytest.approx(8.5, rel=1e-12)


def test_error_of_a_trace():
    """The sample's deviation, divided by n - 1, over √probes; signs z give (Σ z)² for a matrix of ones."""
    ones = torch.ones(2, 2, dtype=torch.float64)
    mean, error = hutchinson_trace(lambda v: ones @ v, 2, probes=5, seed=1)
    hits = round(mean * 5 / 4)  # each probe gives 0 or 4
    assert 0 < hits < 5
    assert mean == pytest.approx(4 * hits / 5, rel=1e-12)
    share = hits / 5
    assert error == pytest.approx(4 * np.sqrt(share * (1 - share) * 5 / 4 / 5), rel=1e-12)


def test_band_over_seeds():
    """From the lowest seed to the highest, around the mean; the mean of logarithms where it is geometric."""
    curves = np.array([[1.0, 10.0], [2.0, 1000.0], [6.0, 10.0]])
    (axes,) = new_figure(1, 1).axes
    band(axes, np.array([0.0, 1.0]), curves)
    band(axes, np.array([0.0, 1.0]), curves, geometric=True)
    assert axes.lines[0].get_ydata() == pytest.approx([3, 340])
    assert axes.lines[1].get_ydata() == pytest.approx([12 ** (1 / 3), 1e5 ** (1 / 3)])
    for drawn in axes.collections:
        corners = drawn.get_paths()[0].vertices
        assert {tuple(corner) for corner in corners} == {(0, 1), (0, 6), (1, 10), (1, 1000)}

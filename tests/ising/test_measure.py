"""Error bars and autocorrelation times against series whose answers are known."""

import math

import numpy as np
import pytest

from grokfast.ising import IsingSampler, Measurements, UnreliableErrorWarning
from grokfast.ising.autocorrelation import integrated_time
from grokfast.ising.exact import enumerated_averages


def ar1(rho, shape, seed):
    """Stationary autoregressive series with ρ(t) = rho^t, so τ = (1 + rho) / (2 (1 - rho))."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=shape) * math.sqrt(1 - rho**2)
    x = np.empty(shape)
    x[..., 0] = rng.normal(size=shape[:-1])
    for t in range(1, shape[-1]):
        x[..., t] = rho * x[..., t - 1] + noise[..., t]
    return x


def estimate(e, m, T=1.0, sites=1, every=1):
    return Measurements.from_series(np.full(len(e), T), e, m, sites=sites, every=every)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_ar1(rho):
    tau = integrated_time(ar1(rho, (20, 8, 4000), seed=1))
    exact = (1 + rho) / (2 * (1 - rho))
    error = tau.std(ddof=1) / math.sqrt(20)
    # the window cuts off a tail of e^-6 or so
    assert abs(tau.mean() - exact) < 4 * error + 0.01 * exact
    assert error < 0.05 * exact


def test_autocorrelation_time_counts_sweeps_and_knows_constants():
    series = ar1(0.5, (1, 4, 2000), seed=2)
    once = estimate(series, series)
    often = estimate(series, series, every=7)
    np.testing.assert_allclose(often.energy_time, 7 * once.energy_time)
    constant = estimate(np.full((1, 4, 50), -2.0), np.ones((1, 4, 50)))
    assert np.isnan(constant.energy_time).all()
    assert constant.energy.error[0] == 0.0
    assert constant.specific_heat == (0.0, 0.0)
    assert constant.binder.mean[0] == pytest.approx(2 / 3)


def test_jackknife_of_a_mean_is_the_standard_error():
    e = np.random.default_rng(3).normal(size=(2, 50, 1)).repeat(3, axis=2)
    measured = estimate(e, e)
    expected = e[:, :, 0].std(axis=1, ddof=1) / math.sqrt(50)
    np.testing.assert_allclose(measured.energy.error, expected, rtol=1e-12)
    np.testing.assert_allclose(measured.energy.mean, e.mean(axis=(1, 2)), rtol=1e-12)


@pytest.mark.parametrize(("R", "n"), [(64, 200), (1, 6400), (5, 1000)])
def test_errors_cover_the_truth(R, n):
    """Over many independent temperatures (estimate - truth) / error has variance about one."""
    T = 300
    e = -1.0 + 0.3 * ar1(0.6, (T, R, n), seed=4)
    m = ar1(0.6, (T, R, n), seed=5)
    measured = estimate(e, m, T=2.0, sites=10)
    truth = {
        "energy": -1.0,
        "magnetization": 0.0,
        "abs_magnetization": math.sqrt(2 / math.pi),
        "specific_heat": 10 * 0.09 / 4,
        "susceptibility": 10 * (1 - 2 / math.pi) / 2,
        "binder": 0.0,
    }
    for name, value in truth.items():
        mean, error = getattr(measured, name)
        z = (mean - value) / error
        assert 0.8 < z.std() < 1.25, name
        assert abs(z.mean()) < 0.35, name


def test_measure_of_the_sampler():
    sampler = IsingSampler(4, [2.0, 5.0], 512, dynamics="glauber", init="up", seed=6)
    sampler.sweep(200)
    measured = sampler.measure(40, every=3, progress=False)
    assert sampler.sweeps == 200 + 120
    assert measured.energies.shape == measured.magnetizations.shape == (2, 512, 40)
    np.testing.assert_array_equal(measured.energies[:, :, -1], sampler.energy())
    for i, T in enumerate((2.0, 5.0)):
        exact = enumerated_averages(4, T)
        for estimate_, value in (
            (measured.energy, exact.energy),
            (measured.abs_magnetization, exact.abs_magnetization),
            (measured.specific_heat, exact.specific_heat),
            (
                measured.susceptibility,
                16 * (exact.square_magnetization - exact.abs_magnetization**2) / T,
            ),
        ):
            assert abs(estimate_.mean[i] - value) < 4 * estimate_.error[i]
            assert estimate_.error[i] < 0.05
    assert measured.every == 3
    assert (measured.energy_time >= 0.4 * 3).all()


def test_progress_bar_goes_to_standard_error(capsys):
    sampler = IsingSampler(4, 4.0, 8, seed=0)
    with pytest.warns(UnreliableErrorWarning, match="short"):
        sampler.measure(3, progress=True)
    shown = capsys.readouterr()
    assert "Measuring" in shown.err
    assert shown.out == ""
    sampler.measure(200)
    assert capsys.readouterr().err == ""


def test_infinite_temperature_has_no_specific_heat():
    sampler = IsingSampler(8, math.inf, 64, seed=1)
    measured = sampler.measure(20)
    assert measured.specific_heat.mean[0] == 0.0
    assert abs(measured.energy.mean[0]) < 4 * measured.energy.error[0]
    assert measured.energy_time[0] == pytest.approx(0.5, abs=0.2)

"""Trust in errors, reweighting, crossings, correlations in space, scans and quenches."""

import csv
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.text import Text

from grokfast.cli.ising import Sampled, ising, temperatures_of
from grokfast.errors import ConfigError, InputError
from grokfast.ising import IsingSampler, UnreliableErrorWarning
from grokfast.ising import scan as scan_module
from grokfast.ising.analysis import correlation_function, crossing, log_slope, reweight, second_moment_length
from grokfast.ising.autocorrelation import student_quantile
from grokfast.ising.enumeration import density_of_states
from grokfast.ising.estimates import Estimate
from grokfast.ising.exact import critical_temperature, enumerated_averages, kaufman_energy
from grokfast.ising.finite_size import Number, coarse_crossings
from grokfast.ising.quench import quench
from grokfast.ising.scan import temperature_scan
from grokfast.ising.scan_pictures import plot_quench, plot_scan

TC = critical_temperature()


def test_student_quantiles():
    t = student_quantile(0.95, np.array([3.0, 5.0, 10.0, 31.0, 1e6]))
    np.testing.assert_allclose(t, [3.182, 2.571, 2.228, 2.040, 1.960], rtol=0.013)


def coverage(T, n, copies, seed):
    """How often intervals of single chains hold the exact energy, and whether they say that they are reliable."""
    # Every "temperature" is one independent copy of a single chain: errors come from its autocorrelations.
    sampler = IsingSampler(8, np.full(copies, T), dynamics="glauber", init="up", seed=seed)
    sampler.sweep(1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreliableErrorWarning)
        measured = sampler.measure(n, every=2)
    truth = float(kaufman_energy(T, 8))
    inside = {}
    for level in (0.68, 0.95):
        low, high = measured.interval("energy", level)
        inside[level] = (low <= truth) & (truth <= high)
    return inside, measured.trust["energy"]


@pytest.mark.parametrize("T", [1.9, TC, 3.0])
def test_intervals_hold_the_truth_where_they_say_so(T):
    inside, trust = coverage(T, 2000, 400, 11)
    reliable = trust.status == "reliable"
    assert reliable.mean() > 0.95
    for level, held in inside.items():
        share = held[reliable].mean()
        assert abs(share - level) < 3.5 * math.sqrt(level * (1 - level) / reliable.sum()), (level, share)


def test_short_series_say_so():
    _, trust = coverage(TC, 20, 400, 12)
    assert (trust.status == "short").mean() > 0.95
    sampler = IsingSampler(16, TC, init="up", seed=1)
    with pytest.warns(UnreliableErrorWarning, match="short against its autocorrelation time") as seen:
        measured = sampler.measure(30)
    assert len(seen) == 1
    assert measured.trust["energy"].status[0] == "short"
    with pytest.raises(InputError, match="did you mean 'binder'"):
        measured.interval("bindr")
    with pytest.raises(InputError):
        measured.interval("energy", 1.0)
    frozen = IsingSampler(8, 0.1, 2, init="up", seed=1).measure(20)
    assert frozen.trust["energy"].status[0] == "frozen"
    assert math.isnan(frozen.trust["energy"].time[0])


@pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")
def test_the_error_of_the_autocorrelation_time_is_its_spread():
    sampler = IsingSampler(8, np.full(300, 3.0), dynamics="glauber", init="up", seed=2)
    sampler.sweep(200)
    trust = sampler.measure(1000).trust["energy"]
    assert 0.7 < trust.time.std(ddof=1) / trust.time_error.mean() < 1.4
    np.testing.assert_allclose(trust.ratio, 1000 / trust.time)


def test_reweighting_in_temperature_and_field(stats):
    sampler = IsingSampler((3, 4), 3.0, 2000, dynamics="glauber", field=0.1, layout="scalar", seed=3)
    sampler.sweep(150)
    measured = sampler.measure(20, every=10)
    z = []
    for T, h in ((3.0, 0.1), (2.7, 0.1), (3.3, 0.1), (3.1, 0.0), (3.0, 0.25)):
        found = reweight(measured, 0, T, h)
        listed = enumerated_averages((3, 4), T, field=h)
        bonds, M, counts = density_of_states((3, 4))
        weights = counts * np.exp((bonds + h * M) / T - 24 / T)
        weights /= weights.sum()
        susceptibility = 12 * (listed.square_magnetization - listed.abs_magnetization**2) / T
        binder = 1 - (weights @ M**4.0) / (3 * (weights @ M**2.0) ** 2)
        for name, value in (
            ("energy", listed.energy),
            ("magnetization", listed.magnetization),
            ("abs_magnetization", listed.abs_magnetization),
            ("specific_heat", listed.specific_heat),
            ("susceptibility", susceptibility),
            ("binder", binder),
        ):
            mean, error = getattr(found, name)
            z.append(float((mean - value)[0] / error[0]))
        assert 0.5 < found.overlap[0] <= 1.0
    assert np.abs(z).max() < 4.0
    same = reweight(measured, 0, 3.0)
    np.testing.assert_allclose(same.energy.mean, measured.energy.mean, rtol=1e-12)
    np.testing.assert_allclose(same.binder.mean, measured.binder.mean, rtol=1e-10)
    assert same.overlap[0] == pytest.approx(1.0)
    for call in (
        lambda: reweight(measured, 1, 2.0),
        lambda: reweight(measured, 0, -1.0),
        lambda: reweight(measured, 0, 2.0, math.inf),
    ):
        with pytest.raises(InputError):
            call()


def test_crossings_and_slopes_of_known_curves():
    T = np.linspace(2.0, 2.6, 13)
    error = np.full(13, 1e-3)
    rng = np.random.default_rng(0)
    a, b = (Estimate(0.61 - s * (T - 2.27) + rng.normal(0, 1e-3, 13), error) for s in (0.5, 2.0))
    found = crossing(T, a, b)
    assert abs(found.temperature - 2.27) < 4 * found.temperature_error < 0.01
    assert abs(found.value - 0.61) < 4 * found.value_error
    assert crossing(T, b, a) is None
    L = np.array([8, 16, 32, 64])
    slope = log_slope(L, 3.0 * L**1.75 * (1 + rng.normal(0, 0.01, 4)), 0.03 * L**1.75)
    assert abs(slope.slope - 1.75) < 4 * slope.error < 0.05
    with pytest.raises(InputError):
        log_slope([8], np.ones(1), np.ones(1))


def test_correlations_in_space_by_their_definition():
    spins = np.random.default_rng(1).choice([-1, 1], (3, 8, 8))
    expected = [np.mean([spins * np.roll(spins, r, axis=axis) for axis in (-1, -2)]) for r in range(5)]
    np.testing.assert_allclose(correlation_function(spins), expected, atol=1e-12)
    k = np.exp(2j * np.pi * np.arange(8) / 8)
    S0 = np.mean(spins.sum((1, 2)) ** 2.0)
    S1 = np.mean([np.abs((spins * k).sum((1, 2))) ** 2, np.abs((spins * k[:, None]).sum((1, 2))) ** 2])
    xi = math.sqrt(max(S0 / S1 - 1, 0)) / (2 * math.sin(math.pi / 8))
    assert second_moment_length(spins) == pytest.approx(xi)
    # Above Tc ξ⁻¹ = 1/T-dependent mass ln coth K - 2K, which the second moment has nearly.
    sampler = IsingSampler(16, 3.0, 4096, seed=3)
    sampler.sweep(300)
    mass = math.log(1 / math.tanh(1 / 3.0)) - 2 / 3.0
    assert second_moment_length(sampler.spins[0]) == pytest.approx(1 / mass, rel=0.15)
    for call in (lambda: correlation_function(np.ones((2, 3))), lambda: second_moment_length(np.ones((4, 4)))):
        with pytest.raises(InputError):
            call()


def prints_well(figure):
    """As wide as a page, with no text below 6.5 points."""
    assert figure.get_figwidth() * 25.4 == pytest.approx(180, abs=1)
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 6.5


@pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")
def test_a_scan_finds_the_transition(tmp_path):
    steps = []
    scan = temperature_scan([4, 8, 16], np.linspace(2.0, 2.6, 7), seed=1, measurements=100, step=steps.append)
    assert len(steps) == 9
    rows = scan.rows()
    assert len(rows) == 21
    z = [(row["energy"] - float(kaufman_energy(row["T"], row["L"]))) / row["energy_error"] for row in rows]
    assert np.abs(z).max() < 5.5  # of a few degrees of freedom
    found = scan.finite_size
    assert abs(found.Tc.value - TC) < 4 * found.Tc.error + 0.03  # sizes are tiny
    assert abs(found.gamma_over_nu.value - 1.75) < 4 * found.gamma_over_nu.error + 0.05
    assert abs(found.beta_over_nu.value - 0.125) < 4 * found.beta_over_nu.error + 0.02
    figure = plot_scan(scan)
    figure.savefig(tmp_path / "scan.png", dpi=150)
    prints_well(figure)
    (legend,) = figure.legends
    for axis in figure.axes[:5]:
        assert axis.get_legend() is None
        assert not legend.get_window_extent().overlaps(axis.get_window_extent())
    one = temperature_scan([4], [2.0, 3.0], measurements=100)
    assert one.finite_size is None
    assert "two sizes" in one.why_not
    cold = temperature_scan([4, 8], [3.5, 4.0], measurements=100, seed=1)
    assert cold.finite_size is None
    for bad in (
        {"sizes": [4, 4]},
        {"temperatures": [0.0]},
        {"temperatures": [math.inf]},
        {"J": -1.0},
        {"measurements": 2},
    ):
        with pytest.raises(InputError):
            temperature_scan(**{"sizes": [4, 8], "temperatures": [2.0], **bad})


def test_glauber_coarsens_as_the_square_root_of_time_and_checkerboard_metropolis_does_not(tmp_path):
    glauber = quench(128, sweeps=200, replicas=32, seed=1)
    assert abs(glauber.exponent[0] - 0.5) < 0.06
    wrong = quench(512, sweeps=100, replicas=8, seed=1, dynamics="metropolis")
    assert wrong.exponent[0] > 0.6
    right = quench(64, sweeps=60, replicas=8, seed=1, dynamics="metropolis", order="random")
    assert 0.3 < right.exponent[0] < 0.6
    assert glauber.pictures.shape[1:] == (128, 128)
    figure = plot_quench(glauber)
    figure.savefig(tmp_path / "quench.png", dpi=150)
    prints_well(figure)
    for bad in ({"temperature": 3.0}, {"dynamics": "wolff"}, {"sweeps": 1}, {"replicas": 1}):
        with pytest.raises(InputError):
            quench(**{"L": 8, **bad})


@pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")
def test_the_command(tmp_path, capsys):
    ising((4, 8), "2.0:2.6:4", sampled=Sampled(measurements=60), out=tmp_path)
    shown = capsys.readouterr().out
    assert "gamma/nu" in shown
    with (tmp_path / "ising.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert float(rows[0]["T"]) == 2.0
    assert (tmp_path / "ising.png").stat().st_size > 20_000
    ising((32,), quench=True, sampled=Sampled(sweeps=40), out=tmp_path)
    assert "Allen-Cahn" in capsys.readouterr().out
    assert (tmp_path / "quench.png").exists()
    assert temperatures_of("2.0,2.5") == [2.0, 2.5]
    assert temperatures_of("1.5:3.5:3") == [1.5, 2.5, 3.5]
    for bad in ("warm", "1:2", "1:2:0", ""):
        with pytest.raises(ConfigError):
            temperatures_of(bad)
    with pytest.raises(ConfigError):
        ising((4,), sampled=Sampled(threads=-1))


@pytest.mark.filterwarnings("ignore::grokfast.ising.UnreliableErrorWarning")
def test_a_scan_that_starts_too_cold_tries_the_highest_crossing(monkeypatch):
    T = np.linspace(2.0, 2.6, 7)

    def curve(last):
        """Above the one before up to ``last``, below it from there on."""
        return Estimate(np.where(last + 1e-9 >= T, 0.1, -0.1), np.full(7, 1e-6))

    def measured(*lasts):
        sums = np.cumsum([curve(last).mean for last in lasts], axis=0)
        return {L: SimpleNamespace(binder=Estimate(x, np.full(7, 1e-6))) for L, x in enumerate([np.zeros(7), *sums])}

    np.testing.assert_allclose(coarse_crossings(T, measured(2.1, 2.2, 2.4), 0), [2.25, 2.45, 2.15])
    np.testing.assert_allclose(coarse_crossings(T, measured(2.1), 0), [2.15])
    assert coarse_crossings(T, measured(2.6), 0) == []

    starts = []

    def found(sizes, start):
        starts.append(start)
        return SimpleNamespace(Tc=Number(start + 0.01, 0.0, 0.0, 0.0)) if start > 2.2 else None

    monkeypatch.setattr(scan_module, "coarse_crossings", lambda T, measured, seed: [2.1, 2.27, 2.0])
    monkeypatch.setattr(scan_module, "finite_size", found)
    scan = temperature_scan([2, 3], [2.0, 2.5], replicas=2, measurements=10, threads=1)
    np.testing.assert_allclose(starts, [2.1, 2.27, 2.28])
    assert scan.why_not == ""
    assert scan.finite_size.Tc.value == pytest.approx(2.29)

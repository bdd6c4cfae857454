"""Each claim's fit on constructed runs whose answers were put in by hand: differences, plateaus, bumps, shares."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import EPOCHS, FRACTIONS, ISING, QUANTITIES, RunConfig, ising, modular
from scipy import stats

from grokfast import load
from grokfast.measures import Estimate
from grokfast.report.claims import CLAIMS, Verdict, evaluate, median_range
from grokfast.report.claims.claim import share_of
from grokfast.report.claims.encoding import _of_mean_curve, _ratio
from grokfast.report.claims.geometry import difference
from grokfast.report.claims.reduce import (
    compressibility_of,
    correlation,
    crossings,
    decade_share,
    mean,
    mean_until,
    overshoot,
    share_above,
    share_kept,
)
from grokfast.store import Store
from grokfast.tasks import ModularAddition

SEEDS = (0, 1, 2)
WIDE = ModularAddition(P=11, hidden=(6,))  # 84 samples to train on: a batch of 64 is no whole split
BIG = ModularAddition(P=31, hidden=(6,))
AT = np.arange(1, EPOCHS + 1)


def _found(name, folder):
    result = evaluate(CLAIMS[name], load(folder))
    return {finding.quantity: finding for finding in result.findings}


def _student(values):
    values = np.asarray(values, float)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return pytest.approx((values.mean(), values.mean() - half, values.mean() + half))


def _ends(finding):
    return finding.estimate.mean, finding.estimate.low, finding.estimate.high


def _pruned(c):
    """An accuracy curve of compressibility c on FRACTIONS: constant 1 - 1/c."""
    return {"fractions": FRACTIONS, "accuracy": np.full(6, 1 - 1 / c), "loss": np.ones(6)}


def test_pruning(tmp_path):
    """Differences of schemes and Gini coefficients that were put in."""
    for w0 in (1.0, 2.0, 8.0):
        for seed in (0, 1):
            run = modular(RunConfig(task=BIG, w0=w0, seed=seed, batch_size=64, epochs=EPOCHS))
            noise = 0.1 * (-1) ** seed
            c, shift = 4.0 + noise, 0.5 + noise
            run.summary |= {"compressibility": c}
            run.curves["global"], run.curves["global-by-norm"] = _pruned(c - shift), _pruned(c + 0.2)
            run.curves["random"], run.curves["layerwise"] = _pruned(c / 2), _pruned(c)
            run.curves["layerwise-layer-0"] = _pruned(c + 3)
            for fisher, less in (("softmax", 1.0), ("logit", -1.0)):
                run.curves[f"fisher-global-{fisher}"] = _pruned(c - shift - less - noise / 2)
                run.curves[f"fisher-layerwise-{fisher}"] = _pruned(c - less - noise / 2)
            run.scalars |= {"gini_weights": 0.5, "gini_parameters": 0.55 + noise / 10}
            run.scalars |= {"gini_fisher": 0.8, "gini_fisher_weights": 0.45 + noise / 10}
            run.scalars |= {"gini_fisher_logit": 0.9, "gini_fisher_logit_weights": 0.7}
            run.publish(Store(tmp_path / "runs"))
    signs = np.array([(-1) ** seed for _ in range(3) for seed in (0, 1)])
    c7 = _found("C7", tmp_path / "runs")
    gap = c7["c of global less that of layerwise pruning"]
    assert _ends(gap) == _student(-0.5 - 0.1 * signs)
    assert gap.against_prose is Verdict.AGREES
    assert c7["c of layer 1 (6×62) pruned alone, w0 = 8 (grokking)"].estimate.mean == pytest.approx(7.0)
    c6 = _found("C6", tmp_path / "runs")
    worse = "c of Fisher pruning {} less that of magnitude pruning, {} Fisher"
    for how in ("globally", "layer by layer"):
        soft, logit = (c6[worse.format(how, fisher)] for fisher in ("softmax", "logit"))
        assert _ends(soft) == _student(-1 - 0.05 * signs)
        assert (soft.against_prose, logit.against_prose) == ("agrees", "differs")
    gini = "Gini of the Fisher diagonal less that of the weights, {} Fisher, {}"
    assert _ends(c6[gini.format("softmax", "all parameters")]) == _student(0.25 - 0.01 * signs)
    assert c6[gini.format("softmax", "weights alone")].against_prose is Verdict.DIFFERS
    assert c6[gini.format("logit", "weights alone")].estimate.mean == pytest.approx(0.2)


def test_other_settings(tmp_path):
    """C3, C4, M2, M8: c by batch size and decay, sizes, ratios and the sign of a correlation."""
    for setting in ({"batch_size": 64}, {"batch_size": 200}, {"batch_size": 64, "weight_decay": 3e-4}):
        for w0 in (0.1, 1.0, 2.0, 10.0):
            for seed in SEEDS:
                run = modular(RunConfig(task=BIG, w0=w0, seed=seed, epochs=EPOCHS, **setting))
                noise = 0.01 * (seed - 1)
                slope = -0.2 if run.config.batch_size == 200 else -1.0
                c = 4.5 + slope * np.log10(w0) + noise
                run.summary |= {"groks": w0 > 1, "compressibility": c, "end_train_loss": 0.1 + c, "end_test_loss": -c}
                run.summary |= {"ipr_output": 0.5 + noise, "ipr_input": 0.25 + 0.05 * np.log10(w0) + noise}
                if "weight_decay" in setting:
                    run.summary |= {"compressibility": 25 + noise if w0 < 1 else 4 + noise}
                    run.summary |= {"ipr_output": 0.05 if w0 < 1 else 0.5}
                    run.summary |= {"size_at_5_percent_drop": {1.0: 0.07, 2.0: 0.34}.get(w0, 0.5) + noise / 100}
                    run.arrays["pruning_fractions"] = np.array([0, 0.5, 1])
                    run.arrays["pruning_accuracy"] = np.array([1, 1 - 0.1 * seed, 0])
                run.publish(Store(tmp_path / "runs"))
    c3 = _found("C3", tmp_path / "runs")
    trend = c3["c per decade of w0, all runs"]
    assert trend.estimate.mean == pytest.approx(-0.2)
    assert trend.against_prose is Verdict.AGREES  # within 0.4 of none
    assert c3["c per decade of w0, below the onset"].estimate.count == 6
    c4 = _found("C4", tmp_path / "runs")
    assert c4["share of weights for 95 %, w0 = 2"].against_figure is Verdict.AGREES
    size = c4["share of weights for 95 %, w0 = 1"]
    assert (size.against_figure, size.against_prose) == ("agrees", "differs")
    best = c4["largest mean c of a w0"]
    assert (best.estimate.mean, best.note, best.against_prose) == (pytest.approx(25), "at w0 = 0.1", "agrees")
    assert c4["IPR of output weights, largest w0 over smallest"].estimate.mean == pytest.approx(10)
    whole = 1 / (1 - (0.25 * (1 + 0.9) + 0.25 * 0.9))  # of the mean curve 1, 0.9, 0
    assert c4["c of the mean pruning curve, w0 = 0.1"].estimate.mean == pytest.approx(whole)
    m2 = _found("M2", tmp_path / "runs")
    gap = m2["IPR of input weights at batch 64, smallest less largest w0"]
    assert gap.estimate.mean == pytest.approx(-0.1)
    assert gap.against_prose is Verdict.AGREES
    assert m2["IPR of input weights at batch 200, smallest less largest w0"].against_prose is Verdict.DIFFERS
    assert m2["IPR of output weights at batch 200, smallest less largest w0"].against_prose is Verdict.AGREES


def test_relations(tmp_path):
    """C2, M3: correlations over runs, with a local learning coefficient that all runs have and one that one lacks."""
    rng = np.random.default_rng(0)
    c, x = rng.normal(size=(2, 40))
    for k, w0 in enumerate(np.repeat((0.1, 1.0, 10.0, 30.0), 10)):
        run = modular(RunConfig(task=WIDE, w0=w0, seed=k % 10, batch_size=64, epochs=EPOCHS))
        run.summary |= {"groks": bool(w0 > 1), "compressibility": c[k], "end_test_loss": c[k] + x[k] / 2}
        run.scalars |= {"gini_weights": c[k] / 100 + 0.5, "llc": x[k], "llc_status": float(k >= 36)}
        run.scalars |= {"llc_rho_0_1": x[k]} if k else {}
        run.scalars |= {"llc_paper": -c[k], "llc_paper_status": 2.0}
        run.publish(Store(tmp_path / "runs"))
    c2 = _found("C2", tmp_path / "runs")
    r = float(np.corrcoef(c, c + x / 2)[0, 1])
    half = 1.959964 / np.sqrt(37)
    loss = c2["correlation of c with the end test loss, all runs"]
    assert _ends(loss) == pytest.approx((r, np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)))
    assert loss.against_prose is Verdict.DIFFERS
    llc = c2["correlation of c with the local learning coefficient, llc, all runs"]
    assert llc.estimate.mean == pytest.approx(stats.spearmanr(c[:36], x[:36]).statistic)
    assert "36 ok, 4 rejected" in llc.note
    assert llc.expected.prose is not None
    part = c2["correlation of c with the local learning coefficient, llc_rho_0_1, all runs"]
    assert part.estimate.count == 39
    assert "1 not measured" in part.note
    papers = c2["correlation of c with the local learning coefficient, llc_paper, all runs"]
    assert (papers.estimate.mean, papers.estimate.count) == (pytest.approx(-1), 40)
    assert papers.note.startswith("Spearman; 40 not local; with the train loss held fixed")
    assert _found("M3", tmp_path / "runs")["correlation of c with the Gini of the weights"].against_prose == "agrees"


def test_ising(tmp_path):
    """F1, G2, C5, M4, M5: the mean lies below the median where one neuron is idle; one of three seeds follows M."""
    for w0 in (1.0, 4.0, 10.0):
        for seed in SEEDS:
            run = ising(RunConfig(task=ISING, w0=w0, seed=seed, epochs=EPOCHS))
            run.summary |= {"groks": w0 >= 4 and seed != 2, "t_train": 6 + seed, "t_grok": int(w0)}
            run.summary |= {"end_test_accuracy": 0.94 + 0.001 * seed, "compressibility": 5 + 0.1 * ((seed + w0) % 3)}
            run.summary |= {"end_train_loss": 0.1 * (2 if w0 > 4 else 1), "end_test_loss": 0.2}
            run.summary |= {f"hidden_mean_{name}": 0.9 - 0.1 * k for k, name in enumerate(QUANTITIES)}
            run.summary |= {"hidden_weighted_energy": 0.98, "hidden_weighted_abs_magnetization": 0.8}
            run.summary |= {"hidden_weighted_magnetization": 0.85 if seed == 0 else 0.1}
            run.summary |= {"conv1_mean_energy": 0.1, "channels1_mean_energy": 0.3}
            run.arrays["r_hidden"] = np.array([[-0.99, 0, 0], [np.nan] * 3, [0.98, 0, 0], [0.5, 0, 0], [0.99, 0, 0]])
            run.publish(Store(tmp_path / "runs"))
    f1 = _found("F1", tmp_path / "runs")
    assert f1["mean |r(E)|, learning"].against_prose is Verdict.DIFFERS
    assert f1["median |r(E)|, grokking"].estimate.mean == pytest.approx(0.985)
    assert f1["median |r(E)|, grokking"].against_prose is Verdict.AGREES
    weighted = f1["|r(E)| weighted by pre-activation, grokking"]
    assert (weighted.against_prose, weighted.against_figure) == ("agrees", "differs")
    assert f1["neurons with |r(E)| of 0.9 or more, learning"].estimate.mean == pytest.approx(0.75)
    assert f1["mean |r(E)| of convolution 1 (every unit), learning"].against_prose is Verdict.AGREES
    m5 = _found("M5", tmp_path / "runs")["grokking seeds that follow M"]
    assert (m5.estimate.mean, m5.note) == (pytest.approx(1 / 3), "1 of 3 seeds at w0 = 10")
    m4 = _found("M4", tmp_path / "runs")
    ratio = m4["train loss at the end, larger over smaller of the regimes, less 1"]
    assert (ratio.estimate.mean, ratio.against_prose) == (pytest.approx(1.0), "agrees")
    assert m4["seeds that do not grok at the largest w0"].estimate.mean == pytest.approx(1 / 3)
    g2 = _found("G2", tmp_path / "runs")
    assert g2["test accuracy, grokking less learning"].estimate.mean == pytest.approx(0, abs=1e-12)
    assert g2["test accuracy at the end, learning"].against_figure is Verdict.AGREES
    onset = _found("G1", tmp_path / "runs")["onset of grokking, w0"]
    assert onset.note == "by seed 4, 4, none"
    assert (onset.estimate.mean, onset.estimate.high) == (4, np.inf)
    assert onset.against_figure is Verdict.OPEN


def test_slower_at_small_scales(tmp_path):
    """M1: 7 epochs at w0 0.1, 5 at the middle of the learning ones, by seed; threshold 0.9 counts from 0."""
    for w0, time in ((0.1, 7), (0.2, 6), (0.4, 5), (1.0, 5), (2.0, 6), (10.0, 13)):
        for seed in SEEDS:
            run = modular(RunConfig(task=WIDE, w0=w0, seed=seed, batch_size=64, epochs=EPOCHS))
            run.summary |= {"groks": w0 > 1, "t_train": time + seed, "t_grok": 0, "t_train_90": time, "t_grok_90": 3}
            run.publish(Store(tmp_path / "runs"))
    m1 = _found("M1", tmp_path / "runs")
    gap = m1["t_train, smallest w0 less the middle one below the onset"]
    assert (gap.estimate.mean, gap.note) == (2, "w0 = 0.1 and 0.4")
    assert (gap.against_prose, gap.against_figure) == ("agrees", "agrees")
    timed = m1["t_train at threshold 0.9, epochs from 0, w0 = 0.1"]
    assert (timed.estimate.mean, timed.expected.figure.low) == (6, 6)
    assert m1["t_train, w0 = 10"].estimate == Estimate(14, 13, 15, 3)
    assert m1["t_train, w0 = 10"].expected.figure is None


def test_dynamics(tmp_path):
    """D1, D2: 0.1 a decade in the plateau 4 to 12; c is 6 soon after t_test and 4 at the end, 8 at most."""
    for w0 in (0.1, 10.0):
        for seed in SEEDS:
            run = modular(RunConfig(task=WIDE, w0=w0, seed=seed, batch_size=64, epochs=EPOCHS))
            run.summary |= {"groks": w0 > 1, "t_train": 4, "t_test": 13}
            run.history["test_accuracy"] = np.where(AT <= 12, 0.1, 1.0)
            run.history["ipr_output"] = np.where(AT <= 12, 0.2 + 0.1 * np.log10(AT), 0.5 + 0.01 * (AT - 13))
            run.history["weight_norm"] = 100 / AT
            run.history["compressibility"] = np.where(AT < 13, 2.0, np.where(AT == 24, 4.0, 6.0))
            run.history["compressibility"][4] = 8.0
            columns = [{"name": "ipr_output", "meaning": "x", "measure": "features", "headline": True}]
            run.publish(Store(tmp_path / "runs"), columns=columns)
    d1 = _found("D1", tmp_path / "runs")
    slope = d1["change of ipr_output per decade of epochs in the plateau"]
    assert slope.estimate.mean == pytest.approx(0.1)
    assert slope.estimate.count == 3  # of those that grok
    assert (slope.against_prose, slope.against_figure) == ("agrees", "differs")
    assert d1["change of ipr_output from t_test to the end, learning"].estimate.mean == pytest.approx(0.11)
    assert d1["shrinking of the norm of all parameters in the plateau"].estimate.mean == pytest.approx(3.0)
    d2 = _found("D2", tmp_path / "runs")
    assert d2["highest c over the end, less 1, grokking"].estimate.mean == pytest.approx(1.0)
    assert d2["epoch of the highest c, grokking"].estimate.mean == 5
    assert d2["c from t_test to twice it over the end, less 1, learning"].estimate.mean == pytest.approx(0.5)


def test_geometry(tmp_path):
    """I1, I2, I4, I5: cosines, origins and lengths of known shape; learning and grokking differ in each number."""
    looks = {"geometry": "logit-16", "geometry_stiff": 0.1, "geometry_schedule": "every:1"}
    peaks = {(0.5, 0): 0.5, (0.5, 1): 0.7, (8.0, 0): 0.8, (8.0, 1): 0.9}
    for (w0, seed), peak in peaks.items():
        run = modular(RunConfig(task=WIDE, w0=w0, seed=seed, batch_size=64, epochs=EPOCHS, **looks))
        run.summary |= {"t_train": 4, "t_test": 12}
        for name, values in (
            ("cosine", np.where(AT == 9, peak, np.where(AT >= 21, -0.25 if w0 < 1 else 0.05, 0.0))),
            ("origin", np.where(AT <= 12, peak / 2, 0.0)),
            ("length", 1.5 - np.cos((AT - 5) * np.pi / 12)),
            ("stiff_length", np.where(AT < 10, 2.0, 1.0)),
            ("sloppy_length", np.full(EPOCHS, 1.5)),
            ("stiff_cosine", np.sin(AT) + 0.1),
            ("sloppy_cosine", np.sin(AT) * (1 if w0 > 1 else -1)),
        ):
            run.history[f"geometry_logit_16_{name}"] = values
        run.publish(Store(tmp_path / "runs"))
    i1 = _found("I1", tmp_path / "runs")
    assert _ends(i1["peak of S, learning"]) == _student([0.5, 0.7])
    assert _ends(i1["peak of S, grokking"]) == _student([0.8, 0.9])
    assert i1["epoch of the peak of S over t_test, grokking"].estimate.mean == 0.75
    assert i1["S at the end, learning"].estimate.mean == pytest.approx(-0.25)
    gap = i1["peak of S, grokking less learning"]
    welch = stats.ttest_ind([0.8, 0.9], [0.5, 0.7], equal_var=False).confidence_interval()
    assert _ends(gap) == pytest.approx((0.25, welch.low, welch.high))
    i2 = _found("I2", tmp_path / "runs")
    assert _ends(i2["mean up to t_test, grokking"]) == _student([0.4, 0.45])
    assert i2["smallest, learning"].estimate.mean == 0
    i4 = _found("I4", tmp_path / "runs")
    assert _ends(i4["start of the bump"])[0] == pytest.approx(5)
    assert _ends(i4["end of the bump"])[0] == pytest.approx(17)
    assert i4["bump meets the grokking period"].estimate.mean == 1
    assert i4["crossings of stiff and sloppy lengths, grokking"].estimate.mean == 1
    i5 = _found("I5", tmp_path / "runs")
    assert i5["correlation of stiff and sloppy cosines, grokking"].estimate.mean == pytest.approx(1)
    assert i5["stiff less sloppy cosine, grokking"].estimate.mean == pytest.approx(0.1)
    assert i5["correlation of stiff and sloppy cosines, learning"].estimate.mean == pytest.approx(-1)
    assert _found("M6", tmp_path / "runs")["stiff over sloppy length at the end, grokking"].estimate.mean == (
        pytest.approx(1 / 1.5)
    )


def test_reductions():
    x, y = np.array([0.0, 1.0, 3.0]), np.array([1.0, 3.0, 3.0])
    assert mean(x, y) == pytest.approx((2 + 6) / 3)
    assert mean(x[:1], y[:1]) == 1
    assert mean_until(x, y, place=1) == 2
    assert mean_until(x, y, place=-5) == 1
    assert overshoot(np.array([1.0, 2, 3]), np.array([9.0, 6, 4]), place=2) == pytest.approx(0.5)
    assert compressibility_of(np.array([0, 0.5, 1]), np.array([1.0, 1, 0])) == pytest.approx(4)
    assert share_kept(np.array([0, 0.5, 1]), np.array([1.0, 1, 0])) == pytest.approx(0.475)
    assert share_kept(np.array([0, 1.0]), np.array([1.0, 1])) == 0
    assert crossings(np.arange(5.0), np.array([1, -1, 0, -1, 2.0])) == 2
    ranks, g = np.arange(1001.0), 10 ** np.linspace(-5, 1, 1001)  # six decades, evenly
    assert share_above(ranks, g, g=0.1) == pytest.approx(2 / 6, abs=2e-3)
    assert decade_share(ranks, g, g=0.1) == pytest.approx(1 / 6, abs=2e-3)
    zeros = np.where(ranks < 500, 0.0, g)
    assert share_above(ranks, zeros, g=1e-9) == pytest.approx(0.5, abs=2e-3)
    r = correlation(np.arange(20.0), np.arange(20.0) ** 2)
    assert r.mean == pytest.approx(np.corrcoef(np.arange(20.0), np.arange(20.0) ** 2)[0, 1])
    assert -1 < r.low < r.mean < r.high < 1


def test_estimates():
    assert median_range([3, 1, np.inf]) == Estimate(3, 1, np.inf, 3)
    assert median_range([np.nan]) is None
    assert share_of([]) is None
    assert share_of([True, False]).mean == 0.5
    found = _ratio(np.array([10.0, 11, 9]), np.array([1.0, 1.1, 0.9]))
    assert found.mean == pytest.approx(10)
    assert found.low < 10 < found.high
    assert difference(np.array([1.0, 1]), np.array([0.5, 0.5])) == Estimate(0.5, 0.5, 0.5, 2)
    assert difference(np.array([]), np.array([1.0])) is None


def test_the_jackknife_of_a_mean_curve():
    """Of curves that are all alike the interval has no width; it widens with their scatter."""

    class _Run:
        def __init__(self, low):
            self.arrays = {"pruning_fractions": np.array([0, 0.5, 1]), "pruning_accuracy": np.array([1, low, 0])}

    same = _of_mean_curve([_Run(0.9)] * 4)
    assert (same.low, same.mean, same.high) == pytest.approx((1 / 0.3 / 1.0, 1 / 0.3, 1 / 0.3), rel=0.2)
    assert same.high - same.low == pytest.approx(0, abs=1e-9)
    wide = _of_mean_curve([_Run(0.9 + d) for d in (-0.1, 0.1, -0.05, 0.05)])
    assert wide.mean == pytest.approx(same.mean)
    assert wide.high - wide.low > 0.1

"""Figures of points, histograms, images and fits show what the store holds."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_figures import lines_of, points_of, same_color
from made_runs import EPOCHS, ISING, LAYERS, MODULAR, RunConfig, ising, modular
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from scipy import stats

from grokfast import load
from grokfast.figures import draw, scale_colors
from grokfast.figures.losses import below_onset
from grokfast.figures.scatter import every_measure
from grokfast.figures.style import FEATURE_COLORS, GROKKING, LEARNING, NEUTRAL
from grokfast.store import Store

SCALES = {"modular-addition": (0.5, 2.0, 8.0), "ising": (1.0, 4.0)}


def _draw(made, name, task):
    return draw(name, load(made[0]), f"task = '{task}'")


def _check_fit(axes, x, c):
    """The straight line and its 95 % band, by scipy and the textbook's formula."""
    x, c = np.array(x), np.array(c)
    wanted = stats.linregress(x, c)
    line = lines_of(axes)[-1]
    at = line.get_xdata()
    np.testing.assert_allclose(at[[0, -1]], [x.min(), x.max()])
    np.testing.assert_allclose(line.get_ydata(), wanted.intercept + wanted.slope * at, rtol=1e-9)
    residuals = c - wanted.intercept - wanted.slope * x
    error = np.sqrt((residuals**2).sum() / (len(x) - 2))
    spread = np.sqrt(1 / len(x) + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, len(x) - 2) * error * spread
    (band,) = [c for c in axes.collections if len(c.get_paths()) == 1 and len(c.get_paths()[0].vertices) > 100]
    vertices = band.get_paths()[0].vertices
    for k in (0, 50, 99):
        y = vertices[np.isclose(vertices[:, 0], at[k])][:, 1]
        np.testing.assert_allclose([y.min(), y.max()], line.get_ydata()[k] + half[k] * np.array([-1, 1]), rtol=1e-6)
    return wanted


def _summaries(runs, name):
    return [run.summary[name] for run in runs]


@pytest.mark.parametrize("name", ["fig05c", "fig05d"])
def test_compressibility_against_train_loss(made, of, name):
    task = "modular-addition" if name == "fig05c" else "ising"
    (axes,) = _draw(made, name, task).axes
    colors = scale_colors(SCALES[task])
    found = points_of(axes)
    for k, w0 in enumerate(SCALES[task]):
        runs = of(task, w0)
        wanted = np.array([_summaries(runs, "end_train_loss"), _summaries(runs, "compressibility")]).T
        np.testing.assert_array_equal(found[k], wanted)
        assert same_color(axes.collections[k].get_facecolor()[0], colors[w0])
    # In the made-up runs every scale above 1 groks: below the onset is 0.5 alone, two runs, too few for a line.
    if name == "fig05c":
        assert "fewer than three runs below the onset" in axes.get_title()
    else:
        runs = of(task)
        fit = _check_fit(axes, _summaries(runs, "end_train_loss"), _summaries(runs, "compressibility"))
        assert f"$R^2$ = {fit.rvalue**2:.2f}, n = 6" in axes.get_title()
        assert axes.get_title().startswith(f"slope {fit.slope:.3g} [")
    assert axes.get_xlabel() == "train cross entropy [nats] at the end"
    assert axes.get_ylabel() == "compressibility $c$"
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    labels = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert labels == [f"{w0:g}" for w0 in SCALES[task]]


def test_the_line_is_fitted_below_the_onset_alone(tmp_path):
    """Slope 100 and intercept 2 below w0 = 1, c = 4 above it; noise of known size."""
    folder = tmp_path / "runs"
    below = []
    for w0 in (0.1, 0.5, 2.0, 8.0):
        for seed in (0, 1, 2):
            made = modular(RunConfig(task=MODULAR, epochs=EPOCHS, w0=w0, seed=seed))
            loss = 0.01 + 0.001 * seed + 0.01 * w0
            c = 2 + 100 * loss + 0.01 * (-1) ** seed if w0 < 1 else 4.0
            made.summary |= {"end_train_loss": loss, "compressibility": c, "groks": w0 > 1}
            made.publish(Store(folder))
            below += [(loss, c)] if w0 < 1 else []
    (axes,) = draw("fig05c", load(folder)).axes
    fit = _check_fit(axes, *np.array(below).T)
    assert abs(fit.slope - 100) < 2
    assert f"slope {fit.slope:.0f} [" in axes.get_title() or f"slope {fit.slope:.3g} [" in axes.get_title()
    assert f"n = {len(below)}" in axes.get_title()
    markers = [len(collection.get_paths()[0].vertices) for collection in axes.collections[:4]]
    assert markers[0] == markers[1] != markers[2] == markers[3]


def test_below_onset_needs_a_majority_at_every_larger_scale():
    class Fake:
        def __init__(self, w0, seed, groks):
            self.record = {"config": {"w0": w0, "seed": seed}}
            self.summary = {"groks": groks}

    runs = [Fake(0.1, s, True) for s in (0, 1)]
    runs += [Fake(1.0, 0, True), Fake(1.0, 1, False)]
    runs += [Fake(4.0, s, True) for s in (0, 1)]
    assert sorted({run.record["config"]["w0"] for run in below_onset(runs)}) == [0.1, 1.0]


@pytest.mark.parametrize("task", ["modular-addition", "ising"])
def test_compressibility_against_both_losses(made, of, task):
    figure = _draw(made, "losses", task)
    for axes, split in zip(figure.axes, ("train", "test"), strict=True):
        x = _summaries(of(task), f"end_{split}_loss")
        c = _summaries(of(task), "compressibility")
        found = np.concatenate(points_of(axes)[: len(SCALES[task])])
        np.testing.assert_array_equal(found, np.array([x, c]).T)
        fit = _check_fit(axes, x, c)
        assert f"$R^2$ = {fit.rvalue**2:.2f}" in axes.get_title()
        assert axes.get_xlabel().startswith(split)


def _points(axes):
    return [group for group in axes.collections if isinstance(group, PathCollection)]


@pytest.mark.parametrize(("name", "task"), [("fig09", "ising"), ("fig10", "modular-addition")])
def test_times_accuracies_and_losses_of_every_seed(made, of, name, task):
    panels = {
        0: [
            ("t_train", FEATURE_COLORS[0], "$t_{train}$"),
            ("t_test", FEATURE_COLORS[1], "$t_{test}$"),
            ("t_grok", NEUTRAL, "$t_{grok}$"),
        ],
        1: [("end_train_accuracy", FEATURE_COLORS[0], "train"), ("end_test_accuracy", FEATURE_COLORS[1], "test")],
        2: [("end_train_loss", FEATURE_COLORS[0], "train"), ("end_test_loss", FEATURE_COLORS[1], "test")],
    }
    figure = _draw(made, name, task)
    for panel, wanted in panels.items():
        axes = figure.axes[panel]
        for k, (column, color, label) in enumerate(wanted):
            runs = of(task)
            points = np.array([[run.config.w0 for run in runs], _summaries(runs, column)]).T
            np.testing.assert_allclose(points_of(axes)[k], points)
            line = lines_of(axes)[k]
            np.testing.assert_array_equal(line.get_xdata(), SCALES[task])
            means = [np.mean(_summaries(of(task, w0), column)) for w0 in SCALES[task]]
            np.testing.assert_allclose(line.get_ydata(), means)
            assert line.get_label() == label
            assert same_color(line.get_color(), color)
            assert same_color(_points(axes)[k].get_facecolor()[0], color)
            bars = [bar.get_segments()[0][:, 1] for bar in axes.collections if isinstance(bar, LineCollection)]
            ranges = [_summaries(of(task, w0), column) for w0 in SCALES[task]]
            wanted = [(min(values), max(values)) for values in ranges]
            np.testing.assert_allclose(bars[k * len(wanted) : (k + 1) * len(wanted)], wanted)
        assert axes.get_xscale() == "log"
        assert axes.get_xlabel() == "$w_0$"
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear", "log"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["epochs", "accuracy", "cross entropy [nats]"]


@pytest.mark.parametrize(("name", "w0"), [("fig12", 1.0), ("fig13", 4.0)])
def test_correlations_of_every_neuron(made, of, name, w0):
    figure = _draw(made, name, "ising")
    grid = np.array(figure.axes).reshape(3, len(LAYERS))
    runs = of("ising", w0)
    for column, layer in zip(grid.T, LAYERS, strict=True):
        for k, axes in enumerate(column):
            r = np.stack([run.arrays[f"r_{layer}"][:, k] for run in runs])  # [seeds, neurons]
            (points,) = points_of(axes)
            at = points[:, 0].reshape(r.shape)
            assert ((at > np.arange(3)[:, None]) & (at < np.arange(1, 4)[:, None])).all()
            np.testing.assert_array_equal(points[:, 1].reshape(r.shape), r)
            assert same_color(axes.collections[0].get_facecolor()[0], FEATURE_COLORS[k])
            assert axes.texts[0].get_text() == f"mean |r| {np.nanmean(np.abs(r)):.2f}"
        constant = 3 if layer == "hidden" else 0
        assert column[0].get_title().endswith("\n3 constant") == bool(constant)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["r(E)", "r(M)", "r(|M|)"]
    assert f"$w_0$ = {w0:g}" in figure.get_suptitle()
    assert figure.get_suptitle().endswith("3 seeds")


def _heights(axes):
    """Counts of the outlined histograms, in the order drawn."""
    return [patch.get_xy()[:, 1] for patch in axes.patches if patch.get_fill() is False or not patch.get_fill()]


def test_energy_against_the_strongest_neuron(made, of):
    figure = _draw(made, "fig03", "ising")
    *scatters, histogram = figure.axes
    outlines = _heights(histogram)
    for k, (axes, w0, color) in enumerate(zip(scatters, SCALES["ising"], (LEARNING, GROKKING), strict=True)):
        runs = of("ising", w0)
        (points,) = points_of(axes)
        np.testing.assert_array_equal(points, np.stack([runs[0].arrays["strongest"], runs[0].arrays["energy"]], 1))
        r = np.corrcoef(points.T)[0, 1]
        assert axes.get_title().endswith(f"(seed 0), r = {r:.3f}")
        assert axes.get_title().startswith(f"$w_0$ = {w0:g}")
        assert same_color(axes.collections[0].get_facecolor()[0], color)
        values = np.abs(np.concatenate([run.arrays["r_hidden"][:, 0] for run in runs]))
        counts, _ = np.histogram(values[np.isfinite(values)], bins=np.arange(41) / 40)
        np.testing.assert_array_equal(outlines[k][1:-1:2], counts)
        label = histogram.get_legend().get_texts()[k].get_text()
        assert label == f"$w_0$ = {w0:g}: mean {np.nanmean(values):.3f}, 3 constant"
    assert histogram.get_title() == "all neurons of 3 seeds"
    assert scatters[0].get_ylabel() == "energy per site [J]"


def _shares(weight):
    """Share of each frequency in each neuron's squared Fourier coefficients, by definition."""
    P = weight.shape[0]
    power = np.abs(np.fft.fft(weight.astype(np.float64), axis=0)) ** 2
    folded = np.stack([power[k] + (power[P - k] if k > 0 else 0) for k in range(P // 2 + 1)])
    return folded / folded.sum(0)


def test_fourier_coefficients_and_ratios(made, of):
    figure = _draw(made, "fig04", "modular-addition")
    maps, histogram = figure.axes[:2], figure.axes[2]
    outlines = _heights(histogram)
    for k, (axes, w0) in enumerate(zip(maps, (0.5, 8.0), strict=True)):
        runs = of("modular-addition", w0)
        wanted = _shares(runs[0].checkpoint["2.weight"])
        shown = np.asarray(axes.images[0].get_array())
        assert shown.shape == (4, 6)
        order = [int(np.argmin(np.abs(wanted - column[:, None]).sum(0))) for column in shown.T]
        assert sorted(order) == list(range(6))
        np.testing.assert_allclose(shown, wanted[:, order], atol=1e-12)
        assert np.all(np.diff(shown.argmax(0)) >= 0)  # sorted by frequency
        assert axes.images[0].get_clim() == (0, 1)
        values = np.concatenate([run.arrays["ipr_output"] for run in runs])
        density, _ = np.histogram(values[np.isfinite(values)], bins=np.arange(41) / 40, density=True)
        np.testing.assert_allclose(outlines[k][1:-1:2], density)
        label = histogram.get_legend().get_texts()[k].get_text()
        assert label == f"$w_0$ = {w0:g}: mean {np.nanmean(values):.2f}, 2 dead"


PAPER = {
    "modular-addition": ["end_train_loss", "end_test_loss", None, "gini_weights", "gini_fisher", "ipr_input"],
    "ising": ["end_train_loss", "end_test_loss", None, "gini_weights", "gini_fisher", "hidden_weighted_energy"],
}
LAST = {
    "modular-addition": ["ipr_output"],
    "ising": ["hidden_weighted_magnetization", "hidden_weighted_abs_magnetization"],
}


def _value(run, column):
    return {**run.summary, **run.scalars}[column]


@pytest.mark.parametrize(
    ("name", "task"),
    [("fig15", "modular-addition"), ("fig16", "modular-addition"), ("fig17", "ising"), ("fig19", "modular-addition")],
)
def test_scatters(made, of, name, task):
    figure = _draw(made, name, task)
    columns = PAPER[task] + LAST[task]
    assert len(figure.axes) == len(columns)
    colors = scale_colors(SCALES[task])
    for k, (axes, column) in enumerate(zip(figure.axes, columns, strict=True)):
        if column is None:
            assert axes.get_xlabel() == r"LLC, $\rho = 0.1$"
            assert axes.texts[0].get_text() == "not measured"
            continue
        runs = of(task)
        x, c = [_value(run, column) for run in runs], _summaries(runs, "compressibility")
        np.testing.assert_array_equal(points_of(axes)[0], np.array([x, c]).T)
        tones = [to_hex(color) for color in axes.collections[0].get_facecolor()]
        assert tones == [to_hex(colors[run.config.w0]) for run in runs]
        fit = _check_fit(axes, x, c)
        said = f"n = {len(x)}" if len(x) < 10 else f"p = {fit.pvalue:.1g}"
        assert axes.get_title() == f"$R^2$ = {fit.rvalue**2:.2f}, {said}"
        assert axes.get_ylabel() == ("compressibility $c$" if k % 4 == 0 else "")
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[:2] == ["train loss [nats]", "test loss [nats]"]
    assert labels[3:5] == ["Gini of |w|", "Gini of the Fisher diagonal"]


def test_measured_coefficients_fill_their_panel(tmp_path):
    for seed in range(4):
        made = ising(RunConfig(task=ISING, epochs=EPOCHS, seed=seed))
        made.scalars["llc"] = 3.0 + seed
        made.publish(Store(tmp_path / "runs"))
    axes = draw("fig17", load(tmp_path / "runs")).axes[2]
    assert axes.get_xlabel() == r"LLC, $\rho = 0.1$"
    assert points_of(axes)[0][:, 0].tolist() == [3, 4, 5, 6]


def test_all_measures_of_any_task(made, of):
    table = load(made[0]).where("task = 'modular-addition'")
    panels = every_measure(list(table))
    assert list(panels)[:2] == ["end_train_loss", "end_test_loss"]
    assert {"gini_weights", "ipr_output", "stiff_share_logit_16"} <= set(panels)
    assert not {"compressibility", "t_train", "groks", "size_at_5_percent_drop", "dead_output"} & set(panels)
    figure = draw("measures", table)
    for axes, column in zip(figure.axes, panels, strict=True):
        wanted = [_value(run, column) for run in of("modular-addition")]
        np.testing.assert_array_equal(points_of(axes)[0][:, 0], wanted)

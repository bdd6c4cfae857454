"""Figures of curves show what the store holds: each line, band, colour, scale and label."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_figures import assert_curve, band_edges, lines_of, same_color
from made_runs import EPOCHS, FRACTIONS, LOOKS, QUANTITIES, RunConfig, main_store, modular

from grokfast import load
from grokfast.figures import draw, scale_colors
from grokfast.figures.style import FEATURE_COLORS, GROKKING, LEARNING
from grokfast.measures import plateau_from
from grokfast.store import Store

ALL = range(1, EPOCHS + 1)
SCALES = {"modular-addition": (0.5, 2.0, 8.0), "ising": (1.0, 4.0)}


def _draw(made, name, task):
    return draw(name, load(made[0]), f"task = '{task}'")


def _check_training(accuracy, loss, of, task):
    colors = scale_colors(SCALES[task])
    for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
        assert len(lines_of(axes)) == 2 * len(SCALES[task])
        k = 0
        for w0 in SCALES[task]:
            for split, dashes in (("train", "--"), ("test", "-")):
                curves = [run.history[f"{split}_{metric}"] for run in of(task, w0)]
                line = assert_curve(axes, k, ALL, curves, geometric=metric == "loss")
                assert line.get_linestyle() == dashes
                assert same_color(line.get_color(), colors[w0])
                k += 1
        assert axes.get_xscale() == "log"
    assert (accuracy.get_yscale(), loss.get_yscale()) == ("linear", "log")
    assert (accuracy.get_ylabel(), loss.get_xlabel()) == ("accuracy", "epoch")
    return [text.get_text() for text in accuracy.get_legend().get_texts()] if accuracy.get_legend() else []


@pytest.mark.parametrize(
    ("name", "task"),
    [("fig02a", "ising"), ("fig02b", "modular-addition"), ("training", "ising"), ("training", "modular-addition")],
)
def test_training_curves(made, of, name, task):
    figure = _draw(made, name, task)
    accuracy, loss = figure.axes
    _check_training(accuracy, loss, of, task)
    labelled = [line for line in accuracy.get_lines() if not line.get_label().startswith("_")]
    assert [line.get_label() for line in labelled] == [f"{w0:g}" for w0 in SCALES[task]]
    assert all(line.get_linestyle() == "-" for line in labelled)
    legends = [[text.get_text() for text in child.get_texts()] for child in [loss.get_legend()]]
    assert legends == [["train (running)", "test"]]
    assert loss.get_ylabel() == "cross entropy [nats],\ngeometric mean"
    seeds = {"ising": 3, "modular-addition": 2}[task]
    title = {"ising": "Ising phases", "modular-addition": "Modular addition"}[task]
    assert figure.get_suptitle() == f"{title}: mean and range over {seeds} seeds"
    assert accuracy.get_ylim()[0] == (0.4 if name == "fig02a" else -0.02)


def _check_pruning(axes, runs_by_scale):
    colors = scale_colors(list(runs_by_scale))
    for k, (w0, runs) in enumerate(runs_by_scale.items()):
        line = assert_curve(axes, k, FRACTIONS, [run.arrays["pruning_accuracy"] for run in runs])
        assert same_color(line.get_color(), colors[w0])
        c = np.mean([run.summary["compressibility"] for run in runs])
        assert line.get_label() == f"{w0:g}   ($c$ = {c:.2f})"
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")


@pytest.mark.parametrize(
    ("name", "task", "lines"),
    [
        ("fig05a", "modular-addition", ()),
        ("fig05b", "ising", (0.5,)),
        ("fig18", "modular-addition", (0.95,)),
        ("pruning", "ising", ()),
        ("pruning", "modular-addition", ()),
    ],
)
def test_pruning_curves(made, of, name, task, lines):
    (axes,) = _draw(made, name, task).axes
    _check_pruning(axes, {w0: of(task, w0) for w0 in SCALES[task]})
    assert axes.get_xlabel() == "share of weights pruned, each layer by itself"
    assert axes.get_ylabel() == "test accuracy"
    across = [line for line in axes.get_lines() if line not in lines_of(axes)]
    assert [line.get_ydata()[0] for line in across] == list(lines)


def test_panels_and_insets_show_their_own_setting(tmp_path):
    """Figures 14 and 5a: batch 20 and 30, and weight decay 3e-5 with 3e-4 in the inset."""
    settings = {
        "batch_size": (20, 30),
        "weight_decay": (3e-5, 3e-4),
    }
    for field, name in (("batch_size", "fig14"), ("weight_decay", "fig05a")):
        folder = tmp_path / field
        runs = {}
        for value in reversed(settings[field]):
            config = {"task": main_task(), "epochs": EPOCHS, field: value}
            runs[value] = {w0: [modular(RunConfig(w0=w0, seed=k, **config)) for k in (0, 1)] for w0 in (0.1, 10)}
            for run in [run for members in runs[value].values() for run in members]:
                run.publish(Store(folder))
        figure = draw(name, load(folder))
        panels = figure.axes if field == "batch_size" else [figure.axes[0], figure.axes[0].child_axes[0]]
        for axes, value in zip(panels, settings[field], strict=True):
            _check_pruning(axes, runs[value])
        titles = ["batch 20", "batch 30"] if field == "batch_size" else [panels[0].get_title(), "weight decay 0.0003"]
        assert [axes.get_title() for axes in panels] == titles


def main_task():
    from made_runs import MODULAR

    return MODULAR


def _times(runs):
    """Medians of t_train, the end of the plateau of those that grok, and t_test."""
    ends = [
        plateau_from(run.summary["t_train"], np.arange(1, len(test) + 1), test)
        for run in runs
        for test in [run.history["test_accuracy"]]
        if run.summary["groks"]
    ]
    return [
        np.median([run.summary["t_train"] for run in runs]),
        *([np.median(ends)] if ends else []),
        np.median([run.summary["t_test"] for run in runs]),
    ]


def _verticals(axes):
    return [line.get_xdata()[0] for line in axes.get_lines() if line not in lines_of(axes)]


IPR = {"output": "ipr_output", "input, both blocks": "ipr_input", "input, each block": "ipr_input_separate"}
R = dict(zip(("E", "M", "|M|"), (f"hidden_weighted_{name}" for name in QUANTITIES), strict=True))


@pytest.mark.parametrize(
    ("name", "task", "features"),
    [("fig06", "modular-addition", IPR), ("fig07", "ising", R)],
)
def test_dynamics(made, of, name, task, features):
    figure = _draw(made, name, task)
    grid = np.array(figure.axes).reshape(4, 2)
    ends = (min(SCALES[task]), max(SCALES[task]))
    for column, w0, color in zip(grid.T, ends, (LEARNING, GROKKING), strict=True):
        runs = of(task, w0)
        feature, pruning, accuracy, loss = column
        for k, (label, column_name) in enumerate(features.items()):
            line = assert_curve(feature, k, LOOKS, [run.seen(column_name)[1] for run in runs])
            assert line.get_label() == label
            assert same_color(line.get_color(), FEATURE_COLORS[k])
        line = assert_curve(pruning, 0, LOOKS, [run.seen("compressibility")[1] for run in runs])
        assert same_color(line.get_color(), color)
        for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
            for k, (split, dashes) in enumerate((("train", "--"), ("test", "-"))):
                curves = [run.history[f"{split}_{metric}"] for run in runs]
                line = assert_curve(axes, k, ALL, curves, geometric=metric == "loss")
                assert (line.get_linestyle(), line.get_label()) == (dashes, split)
                assert same_color(line.get_color(), color)
        for axes in column:
            assert _verticals(axes) == _times(runs)
            assert axes.get_xscale() == "log"
        assert [axes.get_yscale() for axes in column] == ["linear"] * 3 + ["log"]
        assert feature.get_title().startswith(f"$w_0$ = {w0:g}: ")
        assert feature.get_title().endswith(f"({len(runs)} seeds)")
    labels = [axes.get_ylabel() for axes in grid[:, 0]]
    assert labels[1:] == ["compressibility $c$", "accuracy", "cross entropy [nats],\ngeometric mean"]


def test_dynamics_of_any_task_shows_headline_columns(tmp_path):
    made = modular(RunConfig(task=main_task(), epochs=EPOCHS))
    made.history["rank"] = made.history["ipr_input"] + 1
    declared = [
        {"name": "ipr_input", "meaning": "m", "label": "", "unit": "", "kind": "scalar", "headline": False},
        {"name": "rank", "meaning": "m", "label": "effective rank", "unit": "", "kind": "scalar", "headline": True},
    ]
    made.publish(Store(tmp_path / "runs"), columns=[{**column, "measure": "x"} for column in declared])
    (feature, *_) = draw("dynamics", load(tmp_path / "runs")).axes
    (line,) = lines_of(feature)
    np.testing.assert_array_equal(line.get_ydata(), made.seen("rank")[1])
    assert line.get_label() == "effective rank"


@pytest.mark.parametrize(("name", "layer"), [("fig28", "conv1"), ("fig29", "conv2"), ("fig30", "hidden")])
def test_layers_of_the_ising_network(made, of, name, layer):
    figure = _draw(made, name, "ising")
    grid = np.array(figure.axes).reshape(3, 2)
    for column, w0 in zip(grid.T, SCALES["ising"], strict=True):
        runs = of("ising", w0)
        for axes, reading in zip(column, ("weighted", "led", "share"), strict=True):
            for k, quantity in enumerate(QUANTITIES):
                line = assert_curve(axes, k, LOOKS, [run.seen(f"{layer}_{reading}_{quantity}")[1] for run in runs])
                assert line.get_label() == ("E", "M", "|M|")[k]
                assert same_color(line.get_color(), FEATURE_COLORS[k])
            assert _verticals(axes) == _times(runs)
            assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert [axes.get_ylabel().split("\n")[0] for axes in grid[:, 0]] == [
        "weighted mean |r|",
        "share of neurons",
        "share of pre-activation",
    ]


@pytest.mark.parametrize(
    ("name", "task", "features"),
    [
        ("demo", "modular-addition", {"ipr_output": "-"}),
        ("demo-ising", "ising", {"hidden_mean_energy": "-", "hidden_mean_abs_magnetization": ":"}),
    ],
)
def test_demo(made, of, name, task, features):
    accuracy, feature, pruning = _draw(made, name, task).axes
    colors = scale_colors(SCALES[task])
    k = 0
    for w0 in SCALES[task]:
        for split, dashes in (("train", "--"), ("test", "-")):
            line = assert_curve(accuracy, k, ALL, [run.history[f"{split}_accuracy"] for run in of(task, w0)])
            assert line.get_linestyle() == dashes
            k += 1
        for column, dashes in features.items():
            at = len(features) * SCALES[task].index(w0) + list(features).index(column)
            line = assert_curve(feature, at, LOOKS, [run.seen(column)[1] for run in of(task, w0)])
            assert line.get_linestyle() == dashes
            assert same_color(line.get_color(), colors[w0])
    _check_pruning(pruning, {w0: of(task, w0) for w0 in SCALES[task]})
    assert (accuracy.get_xscale(), feature.get_xscale(), pruning.get_xscale()) == ("log", "log", "linear")


FISHER = "fisher-layerwise-softmax"
MAGNITUDE = "layerwise"


def _check_schemes(axes, runs_by_scale, curve, quantity="accuracy"):
    for k, runs in enumerate(runs_by_scale.values()):
        values = [run.curves[curve][quantity] for run in runs]
        assert_curve(axes, k, FRACTIONS, values, geometric=quantity == "loss")
    assert axes.get_yscale() == ("log" if quantity == "loss" else "linear")
    assert axes.get_xscale() == "linear"


def test_global_fisher_pruning_of_both_tasks(made, of):
    figure = draw("fig21", load(made[0]))
    for row, task in enumerate(("ising", "modular-addition")):
        accuracy, loss = figure.axes[2 * row : 2 * row + 2]
        runs = {w0: of(task, w0) for w0 in SCALES[task]}
        _check_schemes(accuracy, runs, "fisher-global-softmax")
        _check_schemes(loss, runs, "fisher-global-softmax", "loss")
        assert (accuracy.get_ylabel(), loss.get_ylabel()) == ("test accuracy", "test loss [nats]")
        assert [line.get_label() for line in lines_of(accuracy)] == [f"{w0:g}" for w0 in runs]


LAYERS = {"modular-addition": ("0", "2"), "ising": ("0", "3", "7", "9")}
SHAPES = {
    "modular-addition": ("6×14", "7×6"),
    "ising": ("2×1×3×3", "4×2×3×3", "5×16", "2×5"),
}


@pytest.mark.parametrize(
    ("name", "task", "quantities"),
    [
        ("fig22", "modular-addition", ("accuracy", "loss")),
        ("fig23", "ising", ("accuracy",)),
        ("fig24", "ising", ("loss",)),
    ],
)
def test_fisher_pruning_layer_by_layer(made, of, name, task, quantities):
    figure = _draw(made, name, task)
    panels = iter(figure.axes)
    for quantity in quantities:
        for k, layer in enumerate(LAYERS[task]):
            axes = next(panels)
            _check_schemes(axes, {w0: of(task, w0) for w0 in SCALES[task]}, f"{FISHER}-layer-{layer}", quantity)
            if quantity == quantities[0]:
                assert axes.get_title() == f"layer {k + 1} ({SHAPES[task][k]})"
            if k == 0:
                assert axes.get_ylabel().startswith(f"test {quantity}")


@pytest.mark.parametrize(("name", "task"), [("fig26", "ising"), ("fig27", "modular-addition")])
def test_magnitude_pruning_layer_by_layer(made, of, name, task):
    figure = _draw(made, name, task)
    ends = {w0: of(task, w0) for w0 in (min(SCALES[task]), max(SCALES[task]))}
    for axes, layer in zip(figure.axes, LAYERS[task], strict=True):
        _check_schemes(axes, ends, f"{MAGNITUDE}-layer-{layer}")
        assert [line.get_label() for line in lines_of(axes)] == [f"$w_0$ = {w0:g}" for w0 in ends]
        assert all(map(same_color, [line.get_color() for line in lines_of(axes)], (LEARNING, GROKKING)))


def test_schemes_of_magnitude_pruning(made, of):
    figure = draw("fig25", load(made[0]))
    panels = iter(figure.axes)
    for task in ("ising", "modular-addition"):
        for w0 in (min(SCALES[task]), max(SCALES[task])):
            axes = next(panels)
            for k, scheme in enumerate(("layerwise", "global", "global-by-norm", "random")):
                curves = [run.curves[scheme]["accuracy"] for run in of(task, w0)]
                line = assert_curve(axes, k, FRACTIONS, curves)
                c = np.mean([1 / (1 - np.trapezoid(curve, FRACTIONS)) for curve in curves])
                assert line.get_label() == f"{scheme} ($c$ = {c:.2f})"
                assert f"{c:.2f}" in axes.get_title().splitlines()[1]
            assert f"$w_0$ = {w0:g}" in axes.get_title()


def test_spectra(made, of):
    figure = draw("fig20", load(made[0]))
    panels = iter(figure.axes)
    for task in ("ising", "modular-addition"):
        for metric in ("logit_16", "softmax_all"):
            axes = next(panels)
            for k, (w0, color) in enumerate(((min(SCALES[task]), LEARNING), (max(SCALES[task]), GROKKING))):
                runs = of(task, w0)
                spectra = [run.arrays[f"spectrum_{metric}"][:3] for run in runs]  # the last is zero in all
                line = assert_curve(axes, k, [1, 3, 6], spectra)
                assert same_color(line.get_color(), color)
                share = np.mean([run.summary[f"stiff_share_{metric}"] for run in runs])
                assert line.get_label().endswith(f"{share:.1%} from 0.1")
            assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
            across = [line for line in axes.get_lines() if line not in lines_of(axes)]
            assert [line.get_ydata()[0] for line in across] == [0.1]


def test_one_seed_has_no_band(tmp_path):
    modular(RunConfig(task=main_task(), epochs=EPOCHS)).publish(Store(tmp_path / "runs"))
    figure = draw("training", load(tmp_path / "runs"))
    assert not figure.axes[0].collections
    assert "1 seed" in figure.get_suptitle()


def test_the_store_of_these_tests_is_told_apart(tmp_path):
    """The test of the tests: no two numbers of it are alike, and a band is where it is read."""
    runs = main_store(tmp_path / "runs")
    values = np.concatenate([run.history[name] for run in runs for name in ("train_loss", "test_loss")])
    assert len(set(values)) == len(values)
    figure = draw("fig02b", load(tmp_path / "runs"))
    low, high = band_edges(figure.axes[0], 0, np.arange(1.0, EPOCHS + 1))
    assert (high > low).all()

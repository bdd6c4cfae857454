"""Figures of geometry show what the store holds."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_figures import assert_curve, lines_of, same_color
from made_runs import EPOCHS, MODULAR, STEPS, RunConfig, modular

from grokfast import load
from grokfast.errors import InputError, MissingRunsError
from grokfast.figures import draw
from grokfast.figures.style import GROKKING, LEARNING
from grokfast.store import Store

TASKS = ("ising", "modular-addition")
METRICS = ("logit_16", "softmax_all")
ENDS = {"modular-addition": (0.5, 8.0), "ising": (1.0, 4.0)}
PANELS = [(task, metric) for task in TASKS for metric in METRICS]
WORDS = {"logit_16": "logit Fisher,\n16 samples", "softmax_all": "softmax Fisher,\nall samples"}
TITLES = {"ising": "Ising phases", "modular-addition": "Modular addition"}


def _sides(of, task):
    return [(of(task, w0), color) for w0, color in zip(ENDS[task], (LEARNING, GROKKING), strict=True)]


def _check(axes, k, runs, column, color, **options):
    line = assert_curve(axes, k, STEPS, [run.seen(column)[1] for run in runs], **options)
    assert same_color(line.get_color(), color)
    return line


def _marks(axes, of, task):
    """Dotted lines at the mean t_test of both regimes."""
    found = {line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"}
    assert found == {np.mean([run.summary["t_test"] for run in runs]) for runs, _ in _sides(of, task)}


def test_cosines(made, of):
    figure = draw("fig08", load(made[0]))
    for k, (task, metric) in enumerate(PANELS):
        for row, what in enumerate(("cosine", "origin")):
            axes = figure.axes[len(PANELS) * row + k]
            for place, (runs, color) in enumerate(_sides(of, task)):
                line = _check(axes, 2 * place, runs, f"geometry_{metric}_{what}", color)
                assert line.get_linestyle() == "-"
                assert line.get_label().startswith(f"$w_0$ = {ENDS[task][place]:g} (")
                line = _check(axes, 2 * place + 1, runs, f"geometry_euclidean_{what}", color)
                assert line.get_linestyle() == "--"
            _marks(axes, of, task)
            assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
        assert figure.axes[k].get_title() == f"{TITLES[task]}\n{WORDS[metric]}"
    assert figure.axes[0].get_ylabel() == "cosine of\nconsecutive steps"
    assert figure.axes[len(PANELS)].get_ylabel() == "cosine with\nthe way to the origin"
    assert figure.get_suptitle().endswith("over 3 seeds (Ising phases f = 1, Modular addition f = 1)")


def test_lengths(made, of):
    figure = draw("fig31", load(made[0]))
    panels = iter(figure.axes)
    for task in TASKS:
        for metric in (*METRICS, "euclidean"):
            axes = next(panels)
            for place, (runs, color) in enumerate(_sides(of, task)):
                _check(axes, place, runs, f"geometry_{metric}_length", color, geometric=True)
            _marks(axes, of, task)
            assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
            assert axes.get_title() == f"{TITLES[task]}\n{WORDS.get(metric, 'Euclidean')}"


def test_lengths_whole_and_split(made, of):
    figure = draw("fig32", load(made[0]))
    for k, (task, metric) in enumerate(PANELS):
        whole, split = figure.axes[k], figure.axes[len(PANELS) + k]
        for place, (runs, color) in enumerate(_sides(of, task)):
            _check(whole, place, runs, f"geometry_{metric}_length", color, geometric=True)
            for part, (name, dashes) in enumerate((("stiff", "-"), ("sloppy", "--"))):
                column = f"geometry_{metric}_{name}_length"
                line = _check(split, 2 * place + part, runs, column, color, geometric=True)
                assert line.get_label() == name
                assert line.get_linestyle() == dashes
        assert (whole.get_yscale(), split.get_yscale()) == ("log", "log")
        _marks(whole, of, task)
        _marks(split, of, task)


def _gradient(x, y):
    """Second-order differences on an unequal grid, one-sided at the ends."""
    found = np.empty_like(y)
    found[0], found[-1] = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    for k in range(1, len(x) - 1):
        left, right = x[k] - x[k - 1], x[k + 1] - x[k]
        found[k] = (y[k + 1] * left**2 - y[k - 1] * right**2 + y[k] * (right**2 - left**2)) / (
            left * right * (left + right)
        )
    return found


def test_gradients_with_the_grokking_regime_above(made, of):
    figure = draw("fig33", load(made[0]))
    for k, (task, metric) in enumerate(PANELS):
        for row, (runs, color) in enumerate(reversed(_sides(of, task))):
            axes = figure.axes[len(PANELS) * row + k]
            mean = np.mean([run.seen(f"geometry_{metric}_length")[1] for run in runs], 0)
            line = lines_of(axes)[0]
            np.testing.assert_array_equal(line.get_xdata(), STEPS)
            np.testing.assert_allclose(line.get_ydata(), _gradient(STEPS.astype(float), mean), rtol=1e-9)
            assert same_color(line.get_color(), color)
            assert axes.get_yscale() == "linear"


def test_the_bump_is_between_the_zeros_of_the_gradient(tmp_path):
    """|s| = 1 + sin falls to epoch 7, rises to 19 and falls: the zeros are there."""
    for w0 in (0.5, 8.0):
        made = modular(_config(w0))
        at = np.arange(1, EPOCHS + 1)
        made.history["geometry_softmax_all_length"] = 1.5 - np.cos((at - 7) * np.pi / 12)
        made.publish(Store(tmp_path / "runs"))
    figure = draw("fig33", load(tmp_path / "runs"))
    for axes in figure.axes:
        if "softmax" in figure.axes[figure.axes.index(axes) % 2].get_title():
            dotted = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]
            assert dotted == pytest.approx([7, 19], abs=0.1)
            assert axes.get_title().endswith("zeros at 7 and 19")
            assert axes.get_xlim()[0] < 7 < 19 < axes.get_xlim()[1]


def _config(w0, **fields):
    shared = {"geometry": "logit-16+softmax-all", "geometry_stiff": 0.1}
    return RunConfig(task=MODULAR, epochs=EPOCHS, w0=w0, **{**shared, **fields})


def test_split_cosines(made, of):
    figure = draw("fig34", load(made[0]))
    for k, (task, metric) in enumerate(PANELS):
        for row, (runs, color) in enumerate(_sides(of, task)):
            axes = figure.axes[len(PANELS) * row + k]
            for place, (part, dashes) in enumerate((("stiff", "-"), ("sloppy", "--"))):
                line = _check(axes, place, runs, f"geometry_{metric}_{part}_cosine", color)
                assert (line.get_label(), line.get_linestyle()) == (part, dashes)
            dotted = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]
            assert dotted == [np.mean([run.summary["t_test"] for run in runs])]
            assert axes.get_ylim() == (-1.05, 1.05)


def test_runs_that_looked_differently_are_not_mixed(tmp_path):
    modular(_config(1)).publish(Store(tmp_path / "runs"))
    modular(_config(2, geometry_step=2)).publish(Store(tmp_path / "runs"))
    table = load(tmp_path / "runs")
    with pytest.raises(InputError, match=r"looked differently \(steps: \('1',\) and \('2',\)\)"):
        draw("fig31", table)
    assert draw("fig31", table, "geometry_step = 1").axes
    bare = modular(_config(1, seed=3))
    for name in [name for name in bare.history if "stiff" in name]:
        del bare.history[name]
    bare.publish(Store(tmp_path / "other"))
    with pytest.raises(MissingRunsError, match="grokfast sweep geometry-diagonal"):
        draw("fig32", load(tmp_path / "other"))

from __future__ import annotations

import numpy as np
import pytest
import torch

from grokfast import load
from grokfast.cli import main
from grokfast.errors import InputError, MissingRunsError
from grokfast.figures import FIGURES, draw, save
from grokfast.figures.curves import POINTS, stacked_curve
from grokfast.figures.fig04 import frequency_share
from grokfast.figures.fig05c import below_onset
from grokfast.figures.registry import one_setting
from grokfast.store import Store
from grokfast.tasks import ModularAddition
from grokfast.training import RunConfig, train_runs

# Figures of pruning and of end models are drawn in test_pruning_figures.py, from a store of more settings.
PRUNING = {f"fig{k}" for k in (*range(14, 20), *range(21, 28))}


def _inner(axes):
    """Inside a grid, where the outer axes carry the labels."""
    place = axes.get_subplotspec()
    return place is not None and not place.is_first_col() and not place.is_last_row()


@pytest.mark.parametrize("name", sorted(FIGURES.keys() - PRUNING))
def test_every_figure_draws_and_is_saved_twice(name, runs_folder, dynamics_folder, tmp_path):
    ours = "ising" in FIGURES[name].condition or "compressibility_schedule" in FIGURES[name].condition
    figure = draw(name, FIGURES, load(dynamics_folder if ours else runs_folder))
    files = save(figure, tmp_path, name)
    assert files[0].read_text().startswith("<?xml")
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert all(_inner(axes) or axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes)


def test_fig02b_draws_the_stored_curves(runs_folder):
    table = load(runs_folder)
    figure = draw("fig02b", FIGURES, table)
    lines = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "-"]
    expected = np.mean([run.history["test_accuracy"] for run in table if run.config.w0 == 0.5], axis=0)
    np.testing.assert_array_equal(lines[0].get_ydata(), expected)


def test_fig08_draws_the_stored_cosines_of_both_regimes(runs_folder):
    table = load(runs_folder)
    figure = draw("fig08", FIGURES, table)
    assert [axes.get_title().splitlines()[-1] for axes in figure.axes[:2]] == [
        "softmax Fisher, all samples",
        "logit Fisher, 8 samples",
    ]
    for line, w0 in zip((figure.axes[0].get_lines()[0], figure.axes[0].get_lines()[3]), (0.5, 8.0), strict=True):
        runs = [run for run in table if run.config.w0 == w0]
        expected = np.mean([run.history["geometry_softmax_all_cosine"] for run in runs], axis=0)
        np.testing.assert_allclose(line.get_ydata(), expected[np.isfinite(expected)])


def test_figures_of_geometry_do_not_mix_steps(tmp_path):
    task = ModularAddition(P=5, hidden=(4,))
    shared = {"task": task, "epochs": 4, "geometry": "softmax-all"}
    configs = [RunConfig(**shared, w0=w0, geometry_step=step) for w0, step in ((1, 1), (2, 2))]
    train_runs(configs, Store(tmp_path / "runs"))
    with pytest.raises(InputError, match=r"would mix runs whose geometry_step is \[1, 2\]"):
        draw("fig31", FIGURES, load(tmp_path / "runs"))
    with pytest.raises(MissingRunsError, match="--geometry-stiff"):
        draw("fig32", FIGURES, load(tmp_path / "runs"))


def test_missing_runs_name_the_command(runs_folder):
    with pytest.raises(MissingRunsError, match=r"grokfast train modular-addition .* --runs"):
        draw("fig02b", FIGURES, load(runs_folder), "w0 > 100")


def test_runs_of_different_settings_are_not_averaged(runs_folder, tmp_path):
    folder = tmp_path / "runs"
    task = ModularAddition(P=5, hidden=(4,))
    configs = [RunConfig(task=task, epochs=2, learning_rate=lr) for lr in (1e-3, 2e-3)]
    train_runs(configs, Store(folder))
    table = load(folder)
    with pytest.raises(InputError, match=r"would mix runs that differ in .*learning_rate"):
        draw("fig02b", FIGURES, table)
    assert draw("fig02b", FIGURES, table, "learning_rate = 0.001").axes
    assert len(one_setting("a figure", list(load(runs_folder)))) == 6


def test_the_same_training_observed_twice_counts_once(tmp_path):
    task = ModularAddition(P=5, hidden=(4,))
    schedules = ("last", "every:1")
    configs = [RunConfig(task=task, epochs=2, feature_schedule=s, seed=k) for s in schedules for k in (0, 1)]
    train_runs(configs, Store(tmp_path / "runs"))
    assert len(load(tmp_path / "runs")) == 2
    assert len(one_setting("a figure", list(load(tmp_path / "runs")))) == 2


def test_frequency_share_finds_a_single_wave():
    x = torch.arange(11, dtype=torch.float64)
    weight = torch.stack([torch.cos(2 * torch.pi * 3 * x / 11 + 0.4), torch.ones(11), torch.zeros(11)], dim=1)
    share = frequency_share(weight)
    assert share.shape == (2, 6)  # the dead neuron is left out
    np.testing.assert_allclose(share[0], np.eye(6)[0], atol=1e-12)
    np.testing.assert_allclose(share[1], np.eye(6)[3], atol=1e-12)


def test_below_onset_needs_a_majority_at_every_larger_scale():
    class Fake:
        def __init__(self, w0, seed, groks):
            self.config = RunConfig(w0=w0, seed=seed)
            self.summary = {"groks": groks}

    runs = [Fake(0.1, s, True) for s in (0, 1)]
    runs += [Fake(1.0, 0, True), Fake(1.0, 1, False)]
    runs += [Fake(4.0, s, True) for s in (0, 1)]
    assert sorted({run.config.w0 for run in below_onset(runs)}) == [0.1, 1.0]


def test_curves_keep_the_epochs_that_all_runs_have_and_are_thinned():
    class Fake:
        def __init__(self, epochs):
            self.epochs = np.array(epochs)

        def seen(self, name):
            return self.epochs, self.epochs * 2.0

    epochs, values = stacked_curve([Fake([1, 2, 4, 8]), Fake([2, 3, 8])], "x")
    assert epochs.tolist() == [2, 8]
    assert values.tolist() == [[4, 16], [4, 16]]
    many = np.arange(1, 100_001)
    epochs, values = stacked_curve([Fake(many)], "x")
    assert 600 < epochs.size <= POINTS
    assert (epochs[0], epochs[-1]) == (1, 100_000)
    np.testing.assert_array_equal(values[0], 2 * epochs)


def test_figure_7_draws_the_stored_features(dynamics_folder):
    table = load(dynamics_folder)
    figure = draw("fig07", FIGURES, table)
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "E"]
    runs = [run for run in table.where("task = 'ising'") if run.config.w0 == 1.0]
    wanted = np.mean([run.seen("hidden_weighted_energy")[1] for run in runs], axis=0)
    np.testing.assert_allclose(line.get_ydata(), wanted)


def test_pictures_of_snapshots_need_no_runs(tmp_path, capsys):
    main(["figure", "fig11", "--runs", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert (tmp_path / "fig11.png").is_file()
    assert not (tmp_path / "none").exists()

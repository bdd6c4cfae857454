from __future__ import annotations

import numpy as np
import pytest

from grokfast import load
from grokfast.endmodel import end_measures, end_pruning
from grokfast.errors import MissingRunsError
from grokfast.figures import FIGURES, draw, save
from grokfast.figures.scatter import measures_of
from grokfast.store import Store
from grokfast.sweep.catalog import ready_made
from grokfast.tasks import Ising, ModularAddition
from grokfast.training import RunConfig, train_runs

NAMES = [f"fig{k}" for k in (*range(14, 20), *range(21, 28))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both tasks, and for modular addition every setting of these figures."""
    folder = tmp_path_factory.mktemp("settings") / "runs"
    modular = ModularAddition(P=17, hidden=(16,), train_fraction=0.8)
    ising = Ising(L=8, temperatures=6, snapshots=40, sweeps=10, train_size=40, test_size=60, hidden=(9,))
    configs = [
        RunConfig(task=modular, w0=w0, seed=seed, epochs=40, **setting)
        for setting in ({}, {"batch_size": 200}, {"weight_decay": 3e-4})
        for w0 in (0.5, 8.0)
        for seed in (0, 1)
    ]
    configs += [
        RunConfig(task=ising, w0=w0, seed=seed, epochs=40, learning_rate=5e-3) for w0 in (1.0, 4.0) for seed in (0, 1)
    ]
    train_runs(configs, Store(folder))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_draws_and_has_its_sweep(name, folder, tmp_path):
    figure = draw(name, FIGURES, load(folder))
    files = save(figure, tmp_path, name)
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert any(axes.get_ylabel() for axes in figure.axes)
    assert all(axes.get_xlabel() or axes.get_title() for axes in figure.axes)
    assert name in ready_made()


def _lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_figure_21_draws_the_curves_of_both_tasks(folder):
    figure = draw("fig21", FIGURES, load(folder))
    assert len(figure.axes) == 4
    for axes, task in zip(figure.axes[::2], ("ising", "modular-addition"), strict=True):
        condition = f"task = '{task}' AND w0 IN (0.5, 1) AND batch_size != 200 AND weight_decay != 3e-4"
        runs = list(load(folder).where(condition))
        line = _lines(axes)[f"{runs[0].config.w0:g}"]
        wanted = np.mean([end_pruning(run, "fisher-global").accuracy.numpy() for run in runs], axis=0)
        np.testing.assert_allclose(line.get_ydata(), wanted)


def test_figure_14_shows_the_batch_sizes_apart(folder):
    figure = draw("fig14", FIGURES, load(folder))
    assert [axes.get_title() for axes in figure.axes] == ["batch 64", "batch 200"]
    alone = draw("fig14", FIGURES, load(folder), "batch_size = 64")
    assert [axes.get_title() for axes in alone.axes] == ["batch 64"]


def test_scatters_leave_room_for_the_learning_coefficient(folder):
    figure = draw("fig15", FIGURES, load(folder))
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[2] == "local learning coefficient"
    assert figure.axes[2].texts[0].get_text() == "not measured"
    runs = list(load(folder).where("task = 'modular-addition' AND batch_size = 64 AND weight_decay = 3e-5"))
    points = figure.axes[labels.index("Gini of the Fisher diagonal")].collections[0].get_offsets()
    assert sorted(points[:, 0]) == pytest.approx(sorted(end_measures(run)["gini_fisher"] for run in runs))
    assert np.isnan(measures_of(runs, "llc")).all()


def test_missing_runs_name_the_command(folder):
    with pytest.raises(MissingRunsError, match=r"grokfast sweep fig16 --size laptop --runs"):
        draw("fig16", FIGURES, load(folder), "w0 > 100")

"""The whole way of each task of the literature, tiny: sweep, measures, pruning, geometry, figures, reports."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from grokfast import load
from grokfast.cli import main
from grokfast.cli.measure import measure
from grokfast.endmodel import STANDARD, kept_pruning, layers
from grokfast.errors import MissingRunsError
from grokfast.figures import FIGURES, draw
from grokfast.figures.listing import availability
from grokfast.observe import MEASURES
from grokfast.pruning import Scheme
from grokfast.report import REPORTS
from grokfast.runs import RunTable

EPOCHS = 6
SWEEP = f"""
title = "every task, tiny"
[run]
epochs = {EPOCHS}
batch_size = 16
optimizer = "adamw"
learning_rate = 3e-3
weight_decay = 0.1
warmup_steps = 3
feature_schedule = "every:2"
compressibility_schedule = "every:3"
geometry = "logit-16+softmax-all"
geometry_stiff = 0.1
[grid]
w0 = [0.5, 2]
[[list]]
task = {{ name = "modular", P = 7, operation = "a*b", network = "transformer", hidden = [10], width = 8, heads = 2 }}
[[list]]
task = {{ name = "permutations", n = 3, network = "embedding-mlp", hidden = [9], width = 4 }}
[[list]]
task = {{ name = "sparse-parity", n = 6, k = 2, samples = 40, hidden = [9], loss = "hinge" }}
[[list]]
task = {{ name = "mnist", train_size = 40, test_size = 40, hidden = [8, 6], file = "pictures.npz" }}
"""
TASKS = ("modular", "permutations", "sparse-parity", "mnist")

OF_ANY_TASK = {
    "training", "fig02a", "fig02b", "pruning", "fig05a", "fig05b", "fig14", "fig18", "losses", "measures", "fig15",
    "fig16", "fig17", "fig19", "fig09", "fig10", "fig21", "fig22", "fig23", "fig24", "fig25", "fig26", "fig27",
}  # fmt: skip
OF_GEOMETRY = {"fig08", "fig20", "fig31", "fig32", "fig33", "fig34"}
OF_FEATURES = {"fig05c", "fig05d", "dynamics"}
OF_SPECTRA = {"demo"}  # and figure 4, of networks with an output matrix: a transformer has none


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> RunTable:
    """Swept and measured by the commands themselves."""
    folder = tmp_path_factory.mktemp("pipeline")
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (80, 3, 3), dtype=np.uint8)
    np.savez(folder / "pictures.npz", inputs=pictures, labels=np.arange(80) % 3)
    text = SWEEP.replace("pictures.npz", str(folder / "pictures.npz"))
    (folder / "sweep.toml").write_text(text)
    main(["sweep", str(folder / "sweep.toml"), "--runs", str(folder / "runs"), "--workers", "1", "--no-measure"])
    measure(folder / "runs")
    return load(folder / "runs")


def of(runs: RunTable, task: str) -> RunTable:
    return runs.where(f"task = '{task}'")


@pytest.mark.parametrize("task", TASKS)
def test_runs_have_their_features_geometry_and_times(runs: RunTable, task: str) -> None:
    table = of(runs, task)
    assert [row["status"] for row in table.rows] == ["finished"] * 2
    assert {row["regime"] for row in table.rows} <= {"groks", "learns", "not generalised"}
    described = table.described()
    for run in table:
        assert len(run.history["test_loss"]) == EPOCHS
        assert np.isfinite(run.history["test_loss"]).all()
        for column in run.config.task.columns:
            assert described[column.name].meaning == column.meaning
            assert run.seen(column.name)[0].tolist() == [2, 4, 6]
        assert run.seen("compressibility")[0].tolist() == [3, 6]
        for name in ("geometry_logit_16_length", "geometry_softmax_all_length"):
            epochs, lengths = run.seen(name)
            assert epochs.tolist() == list(range(1, EPOCHS))  # a step begins at each epoch but the last
            assert (lengths > 0).all()


@pytest.mark.parametrize("task", TASKS)
def test_end_models_are_measured_and_pruned_by_every_scheme(runs: RunTable, task: str) -> None:
    for run, row in zip(of(runs, task), of(runs, task).rows, strict=True):
        declared = [column.name for name in STANDARD for column in MEASURES[name].columns(run.config.task)]
        assert {"gini_weights", "gini_fisher", *declared} <= row.keys()
        assert 0 < row["gini_weights"] < 1
        assert sum(name.startswith("norm_") for name in row) == len(run.checkpoint())
        curves = [(scheme, None) for scheme in Scheme if not scheme.uses_gradients]
        curves += [(scheme, layer) for layer in layers(run) for scheme in (Scheme.LAYERWISE, Scheme.FISHER_LAYERWISE)]
        for scheme, layer in curves:
            curve = kept_pruning(run, scheme, layer)
            assert curve.fractions.tolist() == pytest.approx([k / 100 for k in range(101)])
            assert curve.accuracy[0].item() == pytest.approx(run.summary["end_test_accuracy"])
            assert curve.loss[0].item() == pytest.approx(run.summary["end_test_loss"], rel=1e-4)


def expected_figures(task: str) -> set[str]:
    return OF_ANY_TASK | OF_GEOMETRY | OF_FEATURES | (OF_SPECTRA if task == "modular" else set())


@pytest.mark.parametrize("task", TASKS)
def test_figures_that_have_a_meaning_can_be_drawn_and_no_others(runs: RunTable, task: str) -> None:
    table = of(runs, task)
    found = {name for name in FIGURES if availability(name, table).startswith("yes")}
    assert found == expected_figures(task)


@pytest.mark.parametrize("task", TASKS)
def test_every_figure_is_drawn(runs: RunTable, task: str) -> None:
    for name in sorted(expected_figures(task)):
        figure = draw(name, of(runs, task))
        assert any(axes.get_lines() or axes.collections or axes.images for axes in figure.axes), name
        plt.close(figure)


@pytest.mark.parametrize("task", TASKS)
def test_reports_tell_of_the_task(runs: RunTable, task: str) -> None:
    table = of(runs, task)
    text = REPORTS["claims"].write(table)
    assert f"{task}: " in text
    with pytest.raises(MissingRunsError):  # its experiments are of the paper's tasks
        REPORTS["beyond"].write(table)

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from grokfast import fisher_diag, load
from grokfast.cli import main
from grokfast.endmodel import end_fisher, end_measures, end_params, end_pruning, layers
from grokfast.errors import InputError
from grokfast.measures import gini
from grokfast.pruning import Scheme, measure_pruning


@pytest.fixture(scope="module")
def folder(runs_folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("measured") / "runs"
    shutil.copytree(runs_folder, copy, ignore=shutil.ignore_patterns(".measures"))
    return copy


@pytest.fixture
def run(folder):
    return next(iter(load(folder).where("w0 = 8 AND seed = 1")))


def _accuracy(run):
    split = run.data()
    inputs = run.config.task.encode(split.test_inputs, torch.float32)

    def accuracy(model):
        with torch.no_grad():
            return (model(inputs).argmax(1) == split.test_labels).double().mean().item()

    return accuracy


@pytest.mark.parametrize("scheme", [scheme for scheme in Scheme if scheme is not Scheme.RANDOM])
def test_curves_are_those_of_the_module(run, scheme):
    fisher = {name: values[0] for name, values in end_fisher(run).items()}
    wanted = measure_pruning(run.model(), _accuracy(run), scheme, fisher=fisher)
    curve = end_pruning(run, scheme)
    torch.testing.assert_close(curve.accuracy, wanted.accuracy)
    assert curve.loss[0] == pytest.approx(run.summary["end_test_loss"], rel=1e-5)
    again = end_pruning(run, scheme)
    assert torch.equal(again.accuracy, curve.accuracy)


def test_the_layerwise_curve_is_the_stored_one(run):
    np.testing.assert_array_equal(end_pruning(run, "layerwise").accuracy.numpy(), run.arrays["pruning_accuracy"])


@pytest.mark.parametrize("scheme", ["layerwise", "fisher-layerwise"])
def test_one_layer_at_a_time(run, scheme):
    assert layers(run) == ["0", "2"]
    fisher = {name: values[0] for name, values in end_fisher(run).items()}
    names = ["2.weight"] if scheme == "layerwise" else ["2.weight", "2.bias"]
    wanted = measure_pruning(run.model(), _accuracy(run), scheme, names=names, fisher=fisher)
    torch.testing.assert_close(end_pruning(run, scheme, "2").accuracy, wanted.accuracy)
    with pytest.raises(InputError, match="names of parameters"):
        end_pruning(run, scheme, "7")


def test_scalars_are_columns_once_measured(run, folder):
    found = end_measures(run)
    weights = torch.cat([run.checkpoint()[name].reshape(-1) for name in ("0.weight", "2.weight")])
    assert found["gini_weights"] == pytest.approx(gini(weights.abs()).item())
    inputs = run.config.task.encode(run.data().test_inputs, torch.float32)
    for name, likelihood in (("gini_fisher", "categorical"), ("gini_fisher_logit", "gaussian")):
        assert found[name] == pytest.approx(gini(fisher_diag(run.model(), inputs, likelihood=likelihood).flat()).item())
    norms = [found[name] for name in found if name.startswith("norm_")]
    assert np.sqrt(np.square(norms).sum()) == pytest.approx(run.summary["weight_norm"])
    table = load(folder)
    assert "gini_fisher" in table.columns
    assert run.key in [row["key"] for row in table.rows if row.get("gini_weights") is not None]
    assert run.key in [measured.key for measured in table.where("gini_weights > 0")]


def test_params_are_in_the_order_of_the_module(run):
    assert list(end_params(run)) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_command_line(runs_folder, tmp_path, capsys):
    folder = tmp_path / "runs"
    shutil.copytree(runs_folder, folder, ignore=shutil.ignore_patterns(".measures"))
    main(["measure", "--runs", str(folder), "--where", "seed = 0"])
    assert "measured 3 runs" in capsys.readouterr().out
    main(["runs", "--runs", str(folder), "--sql", "SELECT count(gini_fisher) + 100 AS n FROM runs"])
    assert "103" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["measure", "--runs", str(folder), "--where", "seed = 99"])
    assert "no finished runs" in capsys.readouterr().err

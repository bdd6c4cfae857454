from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from grokfast import Column, ModularAddition, Observer, RunConfig, fisher_diag, load, train_runs
from grokfast.cli import main
from grokfast.endmodel import (
    compare_runs,
    end_fisher,
    end_gradients,
    end_llc,
    end_measures,
    end_params,
    end_pruning,
    layers,
    measure_arrays,
    measure_checkpoints,
    measure_run,
    read_measure,
)
from grokfast.errors import InputError
from grokfast.measures import gini
from grokfast.observe import LlcMeasure, measure
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
    model, split = run.model(), run.data()
    logits = model(run.config.task.encode(split.train_inputs, torch.float32))
    loss = torch.nn.functional.cross_entropy(logits, split.train_labels)
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    gradients = dict(zip(dict(model.named_parameters()), slopes, strict=True))
    ours = {name: slope[0] for name, slope in end_gradients(run).items()}
    for name, slope in ours.items():
        torch.testing.assert_close(slope, gradients[name], rtol=1e-4, atol=1e-7)
    wanted = measure_pruning(run.model(), _accuracy(run), scheme, fisher=fisher, gradients=ours)
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


def _mean(name, column, power=1, **fields):
    @measure(columns=[Column(column, f"mean of |w|^{power}", headline=True)], name=name, **fields)
    def found(snapshot):
        first = next(iter(snapshot.params.values()))
        return {column: first.abs().pow(power).flatten(1).mean(1)}

    return found


def test_a_measure_of_ones_own_is_kept_and_described(folder, run):
    found = measure_run(run, _mean("own", "mean_own"))
    assert found == {"mean_own": pytest.approx(run.checkpoint()["0.weight"].abs().mean().item(), rel=1e-6)}
    table = load(folder)
    assert table[run.key].record["summary"] == run.summary  # the run itself is untouched
    assert [row["mean_own"] for row in table.rows if row["key"] == run.key] == [found["mean_own"]]
    assert table.described()["mean_own"] == Column("mean_own", "mean of |w|^1", headline=True)


def test_an_edited_measure_is_taken_again(run):
    first, second = (measure_run(run, _mean("edited", "mean_edited", power)) for power in (1, 2))
    assert second["mean_edited"] == pytest.approx(run.checkpoint()["0.weight"].square().mean().item(), rel=1e-6)
    assert first != second
    assert read_measure(run, _mean("edited", "mean_edited", 1)) is None
    assert read_measure(run, _mean("edited", "mean_edited", 2)) == second


@pytest.mark.parametrize(
    "column",
    ["Test_Loss", "compressibility", "seed", "P", "Gini_Weights", "mean_first", "MEAN_first", "t_grok", "status"],
)
def test_columns_that_a_run_has_are_not_given_again(run, column):
    end_measures(run)
    measure_run(run, _mean("first", "mean_first"))
    with pytest.raises(InputError, match=f"measure second gives '{column}', which run {run.key} has already"):
        measure_run(run, _mean("second", column))
    assert read_measure(run, _mean("second", column)) is None


def test_what_was_measured_in_training_can_be_measured_again(tmp_path):
    config = RunConfig(task=ModularAddition(P=5, hidden=(6,)), epochs=4)
    chosen = _mean("live", "mean_live")
    train_runs([config], tmp_path, observers=[Observer(chosen, "last")])
    (run,) = load(tmp_path)
    assert measure_run(run, chosen) == {"mean_live": run.summary["mean_live"]}


def test_measures_that_fail_on_stored_runs_say_so(run):
    def given(values, columns=("x",), **fields):
        return measure(columns=[Column(name, "one") for name in columns], name="failing", **fields)(lambda s: values())

    with pytest.raises(InputError, match=f"measure failing failed on run {run.key}: ZeroDivisionError"):
        measure_run(run, given(lambda: 1 / 0))
    with pytest.raises(InputError, match=r"one number a member, \[1\], as 'x', got \[2\]"):
        measure_run(run, given(lambda: {"x": torch.zeros(2)}))
    with pytest.raises(InputError, match=r"gives 'y', but declares \['x'\]"):
        measure_run(run, given(lambda: {"y": torch.zeros(1)}))
    with pytest.raises(InputError, match="needs other epochs of the training"):
        measure_run(run, given(dict, needs=["past"]))
    with pytest.raises(InputError, match="needs two runs"):
        measure_run(run, given(dict, needs=["two runs"]))
    with pytest.raises(InputError, match="looks at one run"):
        compare_runs(run, run, given(dict))


def test_checkpoints_of_a_registered_measure(run):
    found = measure_checkpoints(run, "norms")
    assert found["epoch"].tolist() == run.checkpoint_epochs
    norms = [run.checkpoint(epoch)["0.weight"].norm().item() for epoch in run.checkpoint_epochs]
    np.testing.assert_allclose(found["norm_0_weight"], norms, rtol=1e-6)


def test_arrays_of_stored_end_models(run):
    found = measure_arrays(run, "compressibility")
    np.testing.assert_array_equal(found["pruning_accuracy"], run.arrays["pruning_accuracy"])
    np.testing.assert_array_equal(found["pruning_fractions"], run.arrays["pruning_fractions"])
    assert measure_arrays(run, "norms") == {}


def test_coefficients_of_an_end_model_have_traces(run):
    """The numbers of the measure, which keeps them alone."""
    found = end_llc(run, (0.1, 0.3))
    kept = measure_run(run, LlcMeasure(rhos=(0.1, 0.3)))
    for one, suffix in zip(found, ("", "_rho_0_3"), strict=True):
        assert one.value == one.trace.mean() == kept[f"llc{suffix}"]
        assert one.standard_error == kept[f"llc_error{suffix}"]
        assert len(one.plot().axes[0].lines) >= 5

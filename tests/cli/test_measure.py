"""`grokfast measure`: chosen measures, the learning coefficient, and the same numbers from Dask workers."""

from __future__ import annotations

import shutil

import pytest

from grokfast import ModularAddition, load
from grokfast.cli.measure import main
from grokfast.errors import ConfigError, InputError
from grokfast.kept import kept_measures
from grokfast.learning_coefficient import Mala
from grokfast.observe import LlcMeasure
from grokfast.store import Store
from grokfast.training import RunConfig, train_runs

TASK = ModularAddition(P=5, hidden=(4,))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure") / "runs"
    train_runs([RunConfig(task=TASK, w0=w0, epochs=3, batch_size=8) for w0 in (0.5, 2.0)], Store(folder))
    return folder


def _kept(folder):
    return {run.key: kept_measures(run.store, run.key) for run in load(folder)}


def test_the_coefficient_becomes_columns(trained, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(trained, tmp_path / "runs")
    short = LlcMeasure(sampling=Mala(steps=12, warmup=4, most=12))
    monkeypatch.setattr("grokfast.observe.registry._REGISTRY._found", {**_registered(), "llc": short})
    main(["--llc", "--runs", str(folder)])
    assert "measured 2 runs" in capsys.readouterr().out
    for found in _kept(folder).values():
        assert {"llc", "llc_rho_0_03", "llc_rho_0_3", "llc_status", "quantisation_bits", "svd_rank"} <= found.keys()
    assert {row["llc"] for row in load(folder).rows} == {found["llc"] for found in _kept(folder).values()}


def _registered():
    from grokfast.observe import MEASURES

    return dict(MEASURES)


def test_workers_give_the_same_bits(trained, tmp_path):
    names = ["--measure", "quantisation_bits", "svd_rank", "gini"]
    one, two = (shutil.copytree(trained, tmp_path / name) for name in ("one", "two"))
    main([*names, "--runs", str(one)])
    main([*names, "--runs", str(two), "--workers", "2"])
    assert _kept(one) == _kept(two)
    assert all({"quantisation_bits", "svd_rank", "gini_weights"} <= found.keys() for found in _kept(two).values())


def test_a_run_that_cannot_be_measured_is_named(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "runs")
    with pytest.raises(InputError, match="2 of 2 runs could not be measured"):
        main(["--measure", "cka", "--runs", str(folder), "--workers", "2"])


def test_bad_options(trained):
    with pytest.raises(ConfigError, match="exclude each other"):
        main(["--runs", str(trained), "--scheduler", "tcp://x:1", "--scheduler-file", "y"])
    with pytest.raises(ConfigError, match="workers must be"):
        main(["--runs", str(trained), "--workers", "-1"])

"""Looks that join runs: what is trained again, what is taken over, and what never is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from grokfast import ModularAddition, Observer, RunConfig, Store, load
from grokfast.errors import ConfigError, StoreError
from grokfast.training import Snapshot, train_runs, train_stack
from grokfast.training.stored import publish

TASK = ModularAddition(P=7, hidden=(8,))
BASE = RunConfig(task=TASK, epochs=8, batch_size=8, feature_schedule="every:4", test_schedule="every:4")


def _with(**fields: Any) -> RunConfig:
    return dataclasses.replace(BASE, **fields)


def bias_sum(snapshot: Snapshot) -> Mapping[str, Tensor]:
    return {"bias_sum": snapshot.params["0.bias"].sum(1)}


class Named:
    name = "half-bias"

    def __call__(self, snapshot: Snapshot) -> Mapping[str, Tensor]:
        return {"half_bias": snapshot.params["0.bias"].sum(1) / 2}


def test_a_further_look_adds_columns_and_keeps_what_was_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert train_runs([BASE], store) == [BASE.key]
    before = store.history(BASE.key)
    more = _with(geometry="logit-8", feature_schedule="at:3", test_schedule="every:8", checkpoint_schedule="every:2")
    assert train_runs([more], store) == [BASE.key]
    after, record = store.history(BASE.key), store.record(BASE.key)
    for name in before:
        seen = ~np.isnan(before[name])
        np.testing.assert_array_equal(after[name][seen], before[name][seen])
    assert [e for e, v in zip(after["epoch"], after["ipr_output"], strict=True) if v == v] == [3, 4, 8]
    geometry = [name for name in after if name.startswith("geometry_logit_8")]
    assert geometry
    assert all(np.isfinite(after[name]).any() for name in geometry)
    # A coarser look never overwrites a denser one.
    assert np.flatnonzero(~np.isnan(after["test_loss"])).tolist() == [3, 7]
    assert record["summary"]["test_looks"] == "every:4"
    assert "every:2" in record["looks"]["checkpoints"]
    assert len(load(tmp_path)) == 1
    for asked in (BASE, more, _with(feature_schedule="at:8"), _with(test_schedule="last")):
        assert train_runs([asked], store) == []


def test_configurations_that_differ_in_looks_alone_are_one_run(tmp_path: Path) -> None:
    trained = train_runs([_with(feature_schedule="at:2"), _with(feature_schedule="at:5")], tmp_path)
    assert trained == [BASE.key]
    (run,) = load(tmp_path)
    assert run.seen("ipr_output")[0].tolist() == [2, 5, 8]


def test_columns_of_observers_given_as_objects_are_taken_over_where_the_bits_are_the_same(tmp_path: Path) -> None:
    train_runs([BASE], tmp_path, observers=[Observer(bias_sum, "every:2")])
    train_runs([_with(feature_schedule="every:1")], tmp_path)
    (run,) = load(tmp_path)
    assert run.seen("bias_sum")[0].tolist() == [2, 4, 6, 8]
    assert len(run.seen("ipr_output")[0]) == 8
    assert len([name for name in run.record["looks"] if name.endswith(":bias_sum")]) == 1


@pytest.mark.parametrize("measure", [bias_sum, Named()])
def test_an_observer_asked_for_on_a_stored_run_is_not_skipped(tmp_path: Path, measure: Any) -> None:
    train_runs([BASE], tmp_path)
    observers = [Observer(measure, "every:2")]
    assert train_runs([BASE], tmp_path, observers=observers) == [BASE.key]
    (run,) = load(tmp_path)
    assert {"bias_sum", "half_bias"} & set(run.history)
    assert train_runs([BASE], tmp_path, observers=observers) == []
    assert train_runs([BASE], tmp_path, observers=[Observer(measure, "every:1")]) == [BASE.key]


def test_an_observer_that_cannot_be_told_from_others_is_skipped_with_a_warning(tmp_path: Path) -> None:
    train_runs([BASE], tmp_path)
    observers = [Observer(lambda snapshot: {"x": snapshot.params["0.bias"].sum(1)}, "last")]
    with pytest.warns(UserWarning, match=r"1 stored runs are not trained again, so that .*<lambda>"):
        assert train_runs([BASE], tmp_path, observers=observers) == []
    assert train_runs([BASE], tmp_path, observers=observers, force=True) == [BASE.key]


@pytest.mark.parametrize("what", ["torch", "instruction_set", "engine", "bits"])
def test_nothing_merges_where_environment_or_bits_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    store = Store(tmp_path)
    train_runs([_with(feature_schedule="at:2")], store, observers=[Observer(bias_sum, "every:2")])
    first = store.path(BASE.key)
    if what == "bits":
        (result,) = train_stack([_with(feature_schedule="at:2")])
        tensors = {name: dict(arrays) for name, arrays in result.tensors.items()}
        tensors["checkpoints"]["8/0.bias"] = np.nextafter(tensors["checkpoints"]["8/0.bias"], np.float32(1))
        record = store.record(BASE.key)
        store.publish(BASE.key, record, store.history(BASE.key), tensors)
    else:
        from grokfast.training import record as module

        real = module.versions
        monkeypatch.setattr(module, "versions", lambda device="cpu": {**real(device), what: "another"})
    assert train_runs([_with(feature_schedule="at:5")], store) == [BASE.key]
    (run,) = load(tmp_path)
    # The union of the looks, from one training; what no configuration can ask for stays in the earlier version.
    assert run.seen("ipr_output")[0].tolist() == [2, 5, 8]
    assert "bias_sum" not in run.history
    assert not any(name.startswith("object:") for name in run.record["looks"])
    assert first.is_dir()
    assert store.path(BASE.key) != first


def test_a_result_that_would_lose_looks_published_meanwhile_is_sent_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (mine,) = train_stack([_with(feature_schedule="at:2")])
    train_runs([_with(feature_schedule="at:5")], store)
    # The same bits: both join.
    assert publish(store, mine) is None
    assert np.flatnonzero(~np.isnan(store.history(BASE.key)["ipr_output"])).tolist() == [1, 4, 7]
    # Other bits: this one has to be trained again with the other's looks.
    other = dataclasses.replace(mine, record={**mine.record, "versions": {**mine.record["versions"], "engine": 99}})
    before = store.path(BASE.key)
    assert publish(store, other) == {"features": ["at:5", "at:2"]}
    assert store.path(BASE.key) == before
    # Test passes decide learning times: they come from one training.
    (tested,) = train_stack([_with(test_schedule="at:3", feature_schedule="at:2+5")])
    assert publish(store, tested) == {"test": ["every:4"]}


def test_writers_side_by_side_lose_no_look(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    configs = [_with(feature_schedule=f"at:{epoch}") for epoch in range(1, 8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda config: train_runs([config], Store(tmp_path)), configs))
    (run,) = load(tmp_path)
    assert run.seen("ipr_output")[0].tolist() == list(range(1, 9))


def test_an_extended_run_is_a_new_run_that_names_the_one_it_extends(tmp_path: Path) -> None:
    lengths = [_with(epochs=epochs, feature_schedule="last") for epochs in (4, 8, 12)]
    for config in lengths:
        train_runs([config], tmp_path)
    store = Store(tmp_path)
    parents = [store.record(config.key)["parent"] for config in lengths]
    assert parents == [None, lengths[0].key, lengths[1].key]
    assert len({config.key for config in lengths}) == 3


def test_a_stored_run_whose_task_had_another_default_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    train_runs([BASE], store)
    record = store.record(BASE.key)
    record["config"]["task"]["train_fraction"] = 0.6
    store.publish(BASE.key, record, store.history(BASE.key), {})
    with pytest.raises(ConfigError, match=r"task\.train_fraction is 0\.6 in the stored run and 0\.7 now"):
        train_runs([BASE], store)
    with pytest.raises(ConfigError, match="train_fraction"):
        train_runs([BASE], store, force=True)


def test_other_geometry_of_the_same_columns_is_refused(tmp_path: Path) -> None:
    train_runs([_with(geometry="logit-8")], tmp_path)
    with pytest.raises(ConfigError, match=rf"run {BASE.key} is stored with other looks: geometry at the steps 1 and 2"):
        train_runs([_with(geometry="logit-8", geometry_step=2)], tmp_path)


def test_a_damaged_run_is_trained_again_and_one_of_a_later_version_is_not(
    tmp_path: Path, reseal: Callable[[Path], None]
) -> None:
    store = Store(tmp_path)
    train_runs([BASE], store)
    file = store.path(BASE.key) / "run.json"
    good = file.read_text()
    file.write_text(json.dumps({**json.loads(good), "schema": 99}))
    reseal(file.parent)
    with pytest.raises(StoreError, match="later version of grokfast"):
        train_runs([BASE], store)
    file.write_text(good[:50])
    assert train_runs([BASE], store) == [BASE.key]


MEASURE = """
from grokfast import Column
from grokfast.observe import measure

@measure(columns=[Column("first_norm", "norm of the first matrix"), Column("accuracy_seen", "test accuracy")])
def first_norm(snapshot):
    accuracy = snapshot.metrics["test_accuracy"]
    return {"first_norm": snapshot.params["0.weight"].flatten(1).norm(dim=1), "accuracy_seen": accuracy}
"""


def test_a_measure_of_the_end_alone_is_taken_from_the_stored_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _with(task=ModularAddition(P=7, hidden=(8,)))
    root = tmp_path / "runs"
    train_runs([config], root, observers=[Observer(bias_sum, "every:4")])
    store = Store(root)
    before = store.path(BASE.key)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "end_norm.py").write_text(MEASURE)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    asked = dataclasses.replace(config, observe=("end_norm:first_norm@last",))
    trained = train_runs([asked], store, on_epoch=lambda state: pytest.fail("it was trained"))
    assert trained == []
    (run,) = load(root)
    assert store.path(BASE.key) != before
    assert run.seen("first_norm")[0].tolist() == [8]
    expected = run.checkpoint()["0.weight"].norm().item()
    assert run.summary["first_norm"] == pytest.approx(expected, rel=1e-6)
    assert run.summary["accuracy_seen"] == run.summary["end_test_accuracy"]
    assert run.seen("bias_sum")[0].tolist() == [4, 8]
    assert run.record["looks"]["end_norm:first_norm"] == ["last"]
    assert {"first_norm", "accuracy_seen"} <= {column["name"] for column in run.record["columns"]}
    # The path needs training, and gives the same at the end.
    assert train_runs([dataclasses.replace(asked, observe=("end_norm:first_norm@every:4",))], store) == [BASE.key]
    (again,) = load(root)
    assert again.seen("first_norm")[0].tolist() == [4, 8]
    assert again.summary["first_norm"] == pytest.approx(expected, rel=1e-6)

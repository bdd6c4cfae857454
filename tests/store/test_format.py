"""A store written by the first version must open for ever, also where nothing can be written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from grokfast import ModularAddition, RunConfig, Store, load
from grokfast.errors import StoreError
from grokfast.rows import regime_of
from grokfast.store import derived
from grokfast.store.schema1 import upgraded
from grokfast.sweep import make_plan
from grokfast.training import train_runs

FORMAT_1 = Path(__file__).with_name("format-1")
OLD = "e8af617f294651f6"
TASK = ModularAddition(P=5, hidden=(8,))
CONFIG = RunConfig(task=TASK, epochs=4, batch_size=8, w0=2.0, seed=3, feature_schedule="every:2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    shutil.copytree(FORMAT_1, folder)
    return folder


def _again(folder: Path, name: str, **changes: object) -> Path:
    """Another first-schema run: the stored one under another name with fields of its record changed."""
    home = folder / name
    shutil.copytree(folder / OLD, home)
    (file,) = home.glob("*/run.json")
    record = json.loads(file.read_text())
    for field, value in changes.items():
        record["config"][field] = value
    record["key"] = name
    file.write_text(json.dumps(record))
    (home / "current").write_text(file.parent.name + "\n")
    return home


def test_a_store_of_format_1_opens(folder: Path) -> None:
    table = load(folder)
    assert table.damaged == []
    (run,) = table
    store = Store(folder)
    store.check(run.key)
    assert run.config == CONFIG
    assert run.key == run.record["key"] == CONFIG.key != OLD
    assert table[CONFIG.key[:6]].key == CONFIG.key
    for name in (OLD, CONFIG.key):
        assert store.has(name)
        assert store.home(name) == folder / OLD
        assert store.record(name)["looks"] == CONFIG.looks()
    assert run.history["epoch"].tolist() == [1, 2, 3, 4]
    assert np.isfinite(run.history["ipr_output"]).tolist() == [False, True, False, True]
    assert run.summary["end_train_loss"] == run.history["train_loss"][-1]
    assert run.summary["test_looks"] == "every:1"
    assert run.checkpoint(4)["0.weight"].shape == (8, 10)
    assert run.arrays["pruning_accuracy"].shape == (101,)
    assert run.record["versions"]["instruction_set"] is None


def test_reading_writes_nothing_that_matters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("open", "replace", "rename", "mkdir"):
        monkeypatch.setattr(f"os.{name}", refuse)
    for name in ("write_text", "write_bytes", "mkdir", "replace", "rename", "touch"):
        monkeypatch.setattr(Path, name, refuse)
    (run,) = load(folder)
    assert run.config == CONFIG
    assert run.seen("test_loss")[0].tolist() == [1, 2, 3, 4]
    assert make_plan([CONFIG], Store(folder), workers=1).stored == (CONFIG.key,)
    monkeypatch.undo()
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_an_old_run_is_trained_again_only_for_a_further_look(folder: Path) -> None:
    assert train_runs([CONFIG], folder) == []
    more = RunConfig(**{**vars(CONFIG), "feature_schedule": "at:1", "geometry": "logit-8"})
    assert train_runs([more], folder) == [CONFIG.key]
    (run,) = load(folder)
    assert run.key == CONFIG.key
    assert run.store.home(run.key) == folder / OLD
    assert np.isfinite(run.history["ipr_output"]).tolist() == [True, True, False, True]
    assert run.config.geometry == "logit-8"
    assert run.config.feature_schedule == "at:1,every:2"
    assert (
        train_runs(
            [
                more,
            ],
            Store(folder),
        )
        == []
    )


def test_what_was_computed_from_an_old_run_is_found(folder: Path) -> None:
    store = Store(folder)
    derived(store, OLD, "x", "1", lambda: {"x": np.arange(3.0)})
    (entry,) = (folder / ".measures").iterdir()
    assert entry.name == OLD
    assert derived(store, CONFIG.key, "x", "1", lambda: {})["x"].tolist() == [0, 1, 2]


def test_old_runs_of_one_training_are_all_there(folder: Path) -> None:
    _again(folder, "aaaaaaaaaaaaaaaa", feature_schedule="last")
    _again(folder, "ffffffffffffffff", feature_schedule="every:1", checkpoint_schedule="every:1")
    table = load(folder)
    assert len(table) == len({row["key"] for row in table.rows}) == 3
    keys = {run.key: run.config.feature_schedule for run in table}
    # The one that looked at most stands for the key; the others keep their names.
    assert keys == {CONFIG.key: "every:1", "aaaaaaaaaaaaaaaa": "last", OLD: "every:2"}
    assert Store(folder).old_groups() == {CONFIG.key: ["ffffffffffffffff", "aaaaaaaaaaaaaaaa", OLD]}


def test_train_losses_of_the_first_schema_taken_after_the_epoch_have_the_name_they_have_now(folder: Path) -> None:
    home = _again(folder, "bbbbbbbbbbbbbbbb", train_metrics="full", seed=9)
    store = Store(folder)
    key = RunConfig(**{**vars(CONFIG), "seed": 9}).key
    assert store.home(key) == home
    history, raw = store.history(key), store.history(OLD)
    assert history["train_loss_full"].tolist() == raw["train_loss"].tolist()
    assert np.isnan(history["train_loss"]).all()
    assert store.history(key, ["train_accuracy_full"])["train_accuracy_full"].tolist() == raw["train_accuracy"].tolist()
    record = store.record(key)
    assert record["looks"]["full_train"] == ["every:1"]
    assert record["summary"]["t_train_full"] == 3
    assert "t_train" not in record["summary"]
    assert record["summary"]["t_test"] == 1
    assert regime_of(record["summary"]) == regime_of(store.record(OLD)["summary"]) == "learns"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"optimizer": "sgd", "momentum": 0.5}, {"optimizer": "sgd", "momentum": 0.5}),
        ({"beta1": 0.8, "momentum": 0.1}, {"beta1": 0.8}),
        ({"batch_size": 1000}, {"batch_size": 17}),
        ({"w0": 3, "weight_decay": -0.0}, {"w0": 3.0, "weight_decay": 0.0}),
        ({"geometry": "logit-16+softmax-all", "geometry_stiff": 0.1, "test_schedule": "every:2"}, {}),
        ({"task": {"name": "ising", "train_size": 40, "test_size": 60}, "batch_size": 40},
         {"task": {"name": "ising", "train_size": 40, "test_size": 60}, "batch_size": 40}),
    ],
    ids=str,
)  # fmt: skip
def test_upgraded_records_have_the_keys_that_are_given_now(changes: dict[str, object], key: dict[str, object]) -> None:
    (file,) = FORMAT_1.glob("*/*/run.json")
    record = json.loads(file.read_text())
    record["config"] |= changes
    found = upgraded(record)
    config = RunConfig.from_dict({**CONFIG.to_dict(), **key})
    assert found["key"] == config.key
    assert found["family"] == config.family
    asked = RunConfig.from_dict({**CONFIG.to_dict(), **changes})
    assert {name: sorted(at) for name, at in found["looks"].items()} == asked.looks()
    assert upgraded(found) == found


def test_a_damaged_old_record_is_named(folder: Path) -> None:
    home = _again(folder, "cccccccccccccccc", seed=None)
    _again(folder, "dddddddddddddddd", task={"name": "chess"})
    table = load(folder)
    assert [run.key for run in table] == [CONFIG.key]
    assert len(table.damaged) == 2
    assert any(home.name in message or "seed must be of type int" in message for message in table.damaged)
    assert any("'chess'" in message for message in table.damaged)
    with pytest.raises(StoreError, match="seed"):
        Store(folder).record(home.name)

"""One bad value in one run.json names that run, and the rest loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grokfast import ModularAddition, RunConfig, load
from grokfast.errors import StoreError
from grokfast.store import Store
from grokfast.training import train_runs

CONFIGS = [RunConfig(task=ModularAddition(P=5, hidden=(4,)), epochs=2, seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "runs"
    train_runs(CONFIGS, folder)
    return folder


BAD: list[tuple[str, Any]] = [
    ("config.w0", "big"), ("config.w0", None), ("config.w0", True), ("config.seed", 2**63), ("config.seed", 1.5),
    ("config.seed", "0"), ("config.optimizer", 3), ("config.reshuffle", "false"), ("config.epochs", []),
    ("config.task", "modular-addition"), ("config.task.P", 2**64), ("config.task.name", 5),
    ("config.task.P", float("inf")),
    ("config", None), ("summary", []), ("summary.compressibility", {"a": 1}), ("summary.t_train", [1]),
    ("summary.t_test", 10**30), ("summary.weight_norm", float("nan")), ("status", "done"), ("seconds", "long"),
    ("diverged_epoch", "3"), ("reason", 5), ("looks", None), ("looks.features", "every:1"), ("columns", [{"name": 3}]),
    ("columns", "none"), ("problems", {"x": 1}), ("versions", None), ("parent", 7),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), BAD, ids=str)
def test_one_bad_value_costs_one_run(
    stored: Path, tmp_path: Path, place: str, value: Any, reseal: Callable[[Path], None]
) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(stored, folder)
    store = Store(folder)
    file = store.path(CONFIGS[1].key) / "run.json"
    record = json.loads(file.read_text())
    inner = record
    *outer, last = place.split(".")
    for name in outer:
        inner = inner[name]
    inner[last] = value
    file.write_text(json.dumps(record))
    reseal(file.parent)
    table = load(folder)
    assert {run.key for run in table} == {CONFIGS[0].key, CONFIGS[2].key}
    assert len(table.damaged) == 1
    assert CONFIGS[1].key in table.damaged[0]
    assert "damaged" in table.damaged[0]
    if place == "status":
        assert "status must be one of" in table.damaged[0]
    assert len(table.where("w0 < 2 AND seed >= 0 AND end_test_loss > 0 AND P = 5")) == 2
    with pytest.raises(StoreError, match=CONFIGS[1].key):
        store.record(CONFIGS[1].key)
    # It is trained again, and whole then.
    assert train_runs(CONFIGS, folder) == [CONFIGS[1].key]
    assert load(folder).damaged == []


def test_a_record_nested_beyond_reading_is_named(stored: Path, tmp_path: Path, reseal: Callable[[Path], None]) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(stored, folder)
    file = Store(folder).path(CONFIGS[1].key) / "run.json"
    file.write_text('{"key": ' + "[" * 200_000 + "]" * 200_000 + "}")
    reseal(file.parent)
    table = load(folder)
    assert len(table) == 2
    assert CONFIGS[1].key in table.damaged[0]


def test_a_record_of_another_run_in_a_runs_folder_is_named(
    stored: Path, tmp_path: Path, reseal: Callable[[Path], None]
) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(stored, folder)
    store = Store(folder)
    file = store.path(CONFIGS[1].key) / "run.json"
    shutil.copy(store.path(CONFIGS[0].key) / "run.json", file)
    reseal(file.parent)
    table = load(folder)
    assert {run.key for run in table} == {CONFIGS[0].key, CONFIGS[2].key}
    assert "belongs to run" in table.damaged[0]

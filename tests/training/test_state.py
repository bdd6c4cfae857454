from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from torch import Tensor

from grokfast.errors import StoreError
from grokfast.tasks import ModularAddition
from grokfast.training import (
    Interrupted,
    Observer,
    RunConfig,
    RunResult,
    Snapshot,
    StackState,
    StateKeeper,
    initial_stack,
    load_state,
    run_epochs,
    save_state,
    train_stack,
)

TASK = ModularAddition(P=7, hidden=(16,))
PLAIN = {
    "task": TASK,
    "epochs": 12,
    "batch_size": 8,
    "feature_schedule": "every:3",
    "compressibility_schedule": "every:4",
    "checkpoint_schedule": "every:2",
}


def _configs(**fields: object) -> list[RunConfig]:
    return [RunConfig(**{**PLAIN, **fields}, w0=w0, seed=seed) for w0, seed in ((0.5, 0), (1.0, 1), (4.0, 7))]


class RunningMean:
    """A measure with a memory: the mean over its looks of the first bias's sum."""

    def __init__(self) -> None:
        self.total = torch.zeros(3, dtype=torch.float64)
        self.count = torch.zeros(1, dtype=torch.int64)

    def __call__(self, snapshot: Snapshot) -> Mapping[str, Tensor]:
        self.total += snapshot.params["0.bias"].double().sum(1)
        self.count += 1
        return {"mean_bias": self.total / self.count}

    def state_dict(self) -> Mapping[str, Tensor]:
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.total, self.count = state["total"], state["count"]


def _stopped_at(epoch: int, configs: list[RunConfig], folder: Path, observers: list[Observer]) -> list[int]:
    """Train until after an epoch; returns the epochs trained."""
    stop = Event()
    trained: list[int] = []

    def on_epoch(state: StackState) -> None:
        trained.append(state.epoch)
        if state.epoch == epoch:
            stop.set()

    with pytest.raises(Interrupted):
        train_stack(configs, observers=observers, on_epoch=on_epoch, stop=stop, keeper=StateKeeper(folder))
    return trained


def _counted(configs: list[RunConfig], folder: Path, observers: list[Observer]) -> tuple[list[RunResult], list[int]]:
    """Train to the end; returns the results and the epochs trained."""
    trained: list[int] = []
    keeper = StateKeeper(folder, every=0)
    results = train_stack(
        configs, observers=observers, on_epoch=lambda state: trained.append(state.epoch), keeper=keeper
    )
    assert trained == list(range(keeper.resumed_at + 1, configs[0].epochs + 1))
    return results, trained


def _same(found: list[RunResult], expected: list[RunResult]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.key == b.key
        assert a.record["summary"] == b.record["summary"]
        assert list(a.history) == list(b.history)
        for name in b.history:
            np.testing.assert_array_equal(a.history[name], b.history[name])
        for file in b.tensors:
            assert set(a.tensors[file]) == set(b.tensors[file])
            for name, values in b.tensors[file].items():
                assert a.tensors[file][name].tobytes() == values.tobytes(), (file, name)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"reshuffle": True},
        {"optimizer": "adamw", "precision": "float64"},
        {"optimizer": "sgd", "learning_rate": 0.05},
        {"train_metrics": "full", "batch_size": 1000},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())) or "plain",
)
def test_a_stack_cut_at_three_epochs_ends_with_the_bits_of_an_undisturbed_one(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    configs = _configs(**fields)
    expected = train_stack(configs, observers=[Observer(RunningMean(), "every:5")])
    for epoch in (1, 5, 11):
        _stopped_at(epoch, configs, tmp_path, [Observer(RunningMean(), "every:5")])
    found, trained = _counted(configs, tmp_path, [Observer(RunningMean(), "every:5")])
    _same(found, expected)
    # Training again from nothing would end with the same bits: what was trained is counted.
    assert trained == [12]


def test_each_epoch_is_trained_once_however_often_the_stack_is_stopped(tmp_path: Path) -> None:
    configs = _configs()
    trained: list[int] = []
    for epoch in (2, 3, 7):
        trained += _stopped_at(epoch, configs, tmp_path, [])
    trained += _counted(configs, tmp_path, [])[1]
    assert trained == list(range(1, 13))


def test_a_member_frozen_before_the_stop_is_still_frozen_with_its_epoch_after_it(tmp_path: Path) -> None:
    configs = _configs(optimizer="sgd", epochs=8)
    configs[1] = dataclasses.replace(configs[1], learning_rate=1e30)
    expected = train_stack(configs)
    _stopped_at(4, configs, tmp_path, [])
    loaded = load_state(configs, tmp_path)
    assert loaded is not None
    state = loaded[0]
    assert state.optimizer.active.tolist() == [1, 0, 1]
    assert state.diverged == [0, expected[1].record["diverged_epoch"], 0]
    found, trained = _counted(configs, tmp_path, [])
    assert trained == [5, 6, 7, 8]
    for name in ("status", "diverged_epoch", "reason"):
        assert [result.record[name] for result in found] == [result.record[name] for result in expected]
    assert found[1].record["status"] == "diverged"
    _same(found, expected)


def test_a_frozen_member_stays_frozen(tmp_path: Path) -> None:
    configs = _configs(optimizer="sgd", epochs=6)
    configs[1] = dataclasses.replace(configs[1], learning_rate=1e30)
    expected = train_stack(configs)
    assert [result.record["status"] for result in expected] == ["finished", "diverged", "finished"]
    assert "not finite" in expected[1].record["reason"]
    _stopped_at(3, configs, tmp_path, [])
    _same(train_stack(configs, keeper=StateKeeper(tmp_path)), expected)


def test_a_restored_state_has_every_field_strides_included(tmp_path: Path) -> None:
    configs = _configs(reshuffle=True, hooks=("ema:0.9:2", "sphere"))
    state = initial_stack(configs)
    with pytest.raises(Interrupted):
        run_epochs(state, stop=_set())
    save_state(state, tmp_path)
    loaded = load_state(configs, tmp_path)
    assert loaded is not None
    found = loaded[0]
    # A new field of the state must be saved and loaded as well (gradients are overwritten in every step,
    # the data of an epoch are made from splits and batches, a bound step from its tensors, scaled rates by each step,
    # a stride before its epochs).
    assert {field.name for field in dataclasses.fields(StackState)} == {
        "configs", "gradients", "splits", "params", "optimizer", "orders", "batches", "epoch", "diverged", "history",
        "observed", "columns", "problems", "checkpoints", "train", "test", "arrays", "extended_at",
        "stride",
    }  # fmt: skip
    assert found.columns == state.columns
    assert found.problems == state.problems
    assert {field.name for field in dataclasses.fields(state.optimizer)} == {
        "moments", "learning_rate", "weight_decay", "active", "step", "bound", "memory", "scaled",
    }  # fmt: skip
    for name, tensor in state.params.items():
        assert found.params[name].stride() == tensor.stride()
        assert torch.equal(found.params[name], tensor)
    for ours, theirs in zip(found.optimizer.moments, state.optimizer.moments, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.stride() == b.stride()
            assert torch.equal(a, b)
    for ours, theirs in zip(found.optimizer.memory, state.optimizer.memory, strict=True):
        assert all(torch.equal(a, b) and a.any() for a, b in zip(ours, theirs, strict=True))
    assert found.optimizer.step == state.optimizer.step > 0
    assert torch.equal(found.batches, state.batches)
    for a, b in zip(found.orders, state.orders, strict=True):
        assert torch.equal(a.get_state(), b.get_state())
    assert found.checkpoints.keys() == state.checkpoints.keys()


def test_two_states_are_kept_and_checkpoints_are_written_once(tmp_path: Path) -> None:
    configs = _configs()
    state = initial_stack(configs)
    written: dict[str, int] = {}
    for _ in range(6):
        with pytest.raises(Interrupted):
            run_epochs(state, stop=_set())
        save_state(state, tmp_path)
        for file in tmp_path.glob("kept-*"):
            assert written.setdefault(file.name, file.stat().st_mtime_ns) == file.stat().st_mtime_ns
    assert [file.name for file in sorted(tmp_path.glob("state-*.json"))] == [
        "state-00000005.json",
        "state-00000006.json",
    ]
    assert sorted(written) == [f"kept-{epoch:08d}.safetensors" for epoch in (2, 4, 6)]


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_state_is_named_and_the_one_before_it_taken(tmp_path: Path, suffix: str, damage: str) -> None:
    configs = _configs()
    expected = train_stack(configs)
    state = initial_stack(configs)
    for _ in range(5):
        with pytest.raises(Interrupted):
            run_epochs(state, stop=_set())
        save_state(state, tmp_path)
    victim = tmp_path / f"state-00000005.{suffix}"
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.unlink()
    if damage != "gone":
        victim.write_bytes(content if damage == "flip" else content[:-7])
    told: list[str] = []
    keeper = StateKeeper(tmp_path, every=0, on_damage=told.append)
    _same(train_stack(configs, keeper=keeper), expected)
    assert keeper.resumed_at == 4
    if (suffix, damage) != ("json", "gone"):
        assert len(told) == 1
        assert str(victim) in told[0]


def test_a_state_of_other_runs_is_refused(tmp_path: Path) -> None:
    state = initial_stack(_configs())
    save_state(state, tmp_path)
    with pytest.raises(StoreError, match="belongs to the runs"):
        load_state(_configs()[:2], tmp_path)
    with pytest.raises(StoreError, match="belongs to runs that look at"):
        load_state(_configs(feature_schedule="every:1"), tmp_path)
    assert load_state(_configs(feature_schedule="every:03"), tmp_path) is not None


def test_a_state_of_a_later_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokfast.training.state.STATE_FORMAT", 2)
    file = save_state(initial_stack(_configs()), tmp_path)
    monkeypatch.undo()
    assert json.loads(file.read_text())["format"] == 2
    with pytest.raises(StoreError, match=r"later version of grokfast.*upgrade"):
        load_state(_configs(), tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"could not be saved to .*file"):
        save_state(initial_stack(_configs()), tmp_path / "file")


def _set() -> Event:
    event = Event()
    event.set()
    return event

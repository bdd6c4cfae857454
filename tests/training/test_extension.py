"""Runs that go on: from the kept states of shorter ones, and where Ctrl-C or a kill left them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from grokfast import ModularAddition, RunConfig, Store, load
from grokfast.cli import main
from grokfast.errors import ConfigError, StoreError
from grokfast.sweep import Carried, Sweep, run_sweep
from grokfast.training import Interrupted, Observer, StackState, train_runs
from grokfast.training.kept import STATES, KeptStates, prune_states, told
from grokfast.training.shards import SHARDS

TASK = ModularAddition(P=7, hidden=(9,))


def configs(epochs: int, **fields: object) -> list[RunConfig]:
    given = {"task": TASK, "batch_size": 8, "reshuffle": True, "checkpoint_schedule": "every:4", **fields}
    return [RunConfig(**given, epochs=epochs, seed=seed, w0=1.0 + seed) for seed in range(3)]


def assert_same(one: Path, other: Path, epochs: int) -> None:
    """Equal histories where both looked, equal checkpoints and times."""
    ours, theirs = (
        {run.config.seed: run for run in load(root) if run.config.epochs == epochs} for root in (one, other)
    )
    assert ours.keys() == theirs.keys() == {0, 1, 2}
    for seed, run in ours.items():
        for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            np.testing.assert_array_equal(run.history[name], theirs[seed].history[name], err_msg=name)
        for name, values in run.history.items():
            both = ~np.isnan(values) & ~np.isnan(theirs[seed].history[name])
            np.testing.assert_array_equal(values[both], theirs[seed].history[name][both], err_msg=name)
        assert run.checkpoint_epochs == theirs[seed].checkpoint_epochs
        for epoch in run.checkpoint_epochs:
            for name, tensor in run.checkpoint(epoch).items():
                assert tensor.equal(theirs[seed].checkpoint(epoch)[name])
        assert run.summary == theirs[seed].summary


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"optimizer": "sgd", "learning_rate": 0.05, "hooks": ("ema:0.9:2", "sphere"), "warmup_steps": 40},
        {"test_schedule": "every:3", "train_metrics": "full"},
    ],
    ids=["adam", "hooks", "rare tests"],
)
def test_an_extended_run_has_the_bits_of_one_trained_at_once(tmp_path: Path, fields: dict[str, object]) -> None:
    trained: list[int] = []

    def count(state: StackState) -> None:
        trained.append(state.epoch)

    train_runs(configs(10, **fields), tmp_path / "cut", keep_state=True)
    train_runs(configs(25, **fields), tmp_path / "cut", on_epoch=count)
    assert trained == list(range(11, 26))
    train_runs(configs(25, **fields), tmp_path / "whole")
    assert_same(tmp_path / "cut", tmp_path / "whole", 25)
    shorter = {run.config.seed: run.key for run in load(tmp_path / "cut") if run.config.epochs == 10}
    for run in load(tmp_path / "cut").where("epochs = 25"):
        assert (run.record["parent"], run.record["extended_at"]) == (shorter[run.config.seed], 10)
    assert train_runs(configs(25, **fields), tmp_path / "cut") == []


def test_a_sweep_goes_on_from_what_train_runs_kept_and_keeps_states_itself(tmp_path: Path) -> None:
    train_runs(configs(6), tmp_path / "cut", keep_state=True)
    run_sweep(Sweep("longer", configs(9)), tmp_path / "cut", Carried(workers=1), keep_state=True)
    train_runs(configs(12), tmp_path / "cut")
    assert [run.record["extended_at"] for run in load(tmp_path / "cut").sort("epochs, seed")] == [0] * 3 + [6] * 3 + [
        9
    ] * 3
    train_runs(configs(12), tmp_path / "whole")
    assert_same(tmp_path / "cut", tmp_path / "whole", 12)


def test_why_a_run_is_trained_from_the_start_is_said(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert told(configs(8), KeptStates(store)) == []
    train_runs(configs(4), store)
    (line, *_) = told(configs(8), KeptStates(store))
    assert "trained from the start" in line
    assert "(4 epochs) was not kept" in line
    train_runs(configs(8), store)
    assert {run.record["extended_at"] for run in load(tmp_path)} == {0}
    assert all(run.record["parent"] for run in load(tmp_path).where("epochs = 8"))  # a relative all the same
    train_runs(configs(4), store, force=True, keep_state=True)
    kept = KeptStates(store)
    assert told(configs(20), kept)[0].startswith("3 of them go on")  # from 4 epochs: the state of 8 was not kept


def test_what_a_parent_has_not_looked_at_is_said(tmp_path: Path) -> None:
    train_runs(configs(4), tmp_path, keep_state=True)
    kept = KeptStates(Store(tmp_path))
    assert "geometry" in told(configs(20, geometry="logit-16"), kept)[0]
    assert "has not looked at full_train" in told(configs(20, train_metrics="full"), kept)[0]
    assert "has not looked at checkpoints at every:1" in told(configs(20, checkpoint_schedule="every:1"), kept)[0]
    kept._versions = {**kept._versions, "torch": "1.0"}
    assert "was trained with torch" in told(configs(20), kept)[0]


def test_a_damaged_state_costs_time_only(tmp_path: Path) -> None:
    train_runs(configs(4), tmp_path / "cut", keep_state=True)
    for file in (tmp_path / "cut" / ".states").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    train_runs(configs(8), tmp_path / "cut")
    train_runs(configs(8), tmp_path / "whole")
    assert_same(tmp_path / "cut", tmp_path / "whole", 8)
    assert {run.record["extended_at"] for run in load(tmp_path / "cut")} == {0}


def test_a_run_whose_rate_decays_is_not_extended(tmp_path: Path) -> None:
    fading = configs(4, rate_decay="cosine")
    with pytest.raises(ConfigError, match="rate_decay 'cosine' cannot be extended"):
        train_runs(fading, tmp_path, keep_state=True)
    with pytest.raises(ConfigError, match="rate_decay 'cosine' cannot be extended"):
        run_sweep(Sweep("fading", fading), tmp_path, Carried(workers=1), keep_state=True)
    train_runs(fading, tmp_path)
    train_runs([dataclasses.replace(config, epochs=8) for config in fading], tmp_path)
    assert {run.record["parent"] for run in load(tmp_path)} == {None}


def test_a_diverged_run_stays_diverged_when_extended(tmp_path: Path) -> None:
    wild = [dataclasses.replace(config, learning_rate=1e30) for config in configs(3, optimizer="sgd")]
    train_runs(wild, tmp_path, keep_state=True)
    train_runs([dataclasses.replace(config, epochs=6) for config in wild], tmp_path)
    assert {run.record["status"] for run in load(tmp_path)} == {"diverged"}
    assert {run.record["diverged_epoch"] for run in load(tmp_path)} == {1}


# Interrupted.


def stopped_at(epoch: int, root: Path, some: list[RunConfig], **more: object) -> list[int]:
    """Train until some stack has done an epoch, and return the epochs that were trained."""
    trained: list[int] = []
    stop = Event()

    def watch(state: StackState) -> None:
        trained.append(state.epoch)
        if state.epoch == epoch:
            stop.set()

    with pytest.raises(Interrupted):
        train_runs(some, root, on_epoch=watch, stop=stop, **more)
    return trained


@pytest.mark.usefixtures("core")  # torch's own sums depend on the threads
def test_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    trained = stopped_at(5, tmp_path / "cut", configs(12), threads=2)
    assert len(load(tmp_path / "cut")) == 0
    assert len(list((tmp_path / "cut" / SHARDS).iterdir())) == 2
    train_runs(configs(12), tmp_path / "cut", on_epoch=lambda state: trained.append(state.epoch))  # other threads
    assert sorted(trained) == sorted([*range(1, 13)] * 2), "each epoch of each stack once"
    assert not list((tmp_path / "cut" / SHARDS).iterdir())
    train_runs(configs(12), tmp_path / "whole")
    assert_same(tmp_path / "cut", tmp_path / "whole", 12)


def test_a_sweep_takes_up_what_training_left_and_training_what_a_sweep_left(tmp_path: Path) -> None:
    stopped_at(5, tmp_path, configs(12))
    (state,) = tmp_path.rglob("state-*.json")
    assert state.name == "state-00000005.json"
    report = run_sweep(Sweep("same", configs(12)), tmp_path, Carried(workers=1))
    assert [receipt.resumed_at for receipt in report.receipts] == [5]
    assert len(load(tmp_path)) == 3


def test_a_stack_that_was_never_saved_leaves_nothing(tmp_path: Path) -> None:
    def fail(state: StackState) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        train_runs(configs(4), tmp_path, on_epoch=fail)
    assert not list((tmp_path / SHARDS).iterdir())


def test_observers_given_as_objects_see_every_epoch(tmp_path: Path) -> None:
    seen: list[int] = []
    observer = Observer(lambda snapshot: seen.append(snapshot.epoch) or {}, "every:1")
    train_runs(configs(6), tmp_path / "kept", keep_state=True)
    shutil.copytree(tmp_path / "kept", tmp_path / "runs")
    stopped_at(3, tmp_path / "runs", configs(8), observers=[observer])
    seen.clear()
    train_runs(configs(8), tmp_path / "runs", observers=[observer])
    assert seen[-8:] == list(range(1, 9))


def test_kept_states_are_removed_and_runs_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    train_runs(configs(4), store, keep_state=True)
    orphan = tmp_path / STATES / "of-a-run-that-is-gone"
    orphan.mkdir()
    first, *others = configs(4)
    assert KeptStates(store).parent(configs(8)[0])[0] is not None
    main(["runs", "--runs", str(tmp_path), "--prune-states", "--where", "seed = 0 AND epochs = 4"])
    assert capsys.readouterr().out.startswith("1 kept states removed, 0.0 MB freed")
    assert not KeptStates(store).folder(first.key).exists()
    assert "was not kept" in KeptStates(store).parent(configs(8)[0])[1]
    assert KeptStates(store).parent(configs(8)[1])[0] is not None
    held = sum(file.stat().st_size for config in others for file in KeptStates(store).folder(config.key).iterdir())
    assert prune_states(store) == (3, held)
    assert list((tmp_path / STATES).iterdir()) == []
    assert len(load(tmp_path)) == 3
    assert train_runs(configs(4), store) == []
    assert prune_states(store) == (0, 0)


def test_no_states_are_removed_where_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        prune_states(Store(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()

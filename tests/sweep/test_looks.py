"""Sweeps that ask stored runs for further looks, and shards that earlier versions began."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from torch import Tensor

from grokfast import ModularAddition, Observer, RunConfig, Store, load, train_runs
from grokfast.checksums import digest_of
from grokfast.errors import ConfigError, StoreError
from grokfast.store.lock import lock
from grokfast.sweep import Job, Outcome, Shard, begun_shards, make_plan, run_shard
from grokfast.sweep.journal import sweep_up
from grokfast.training import Snapshot

Small = Callable[..., list[RunConfig]]


def bias_sum(snapshot: Snapshot) -> Mapping[str, Tensor]:
    return {"bias_sum": snapshot.params["0.bias"].sum(1)}


class Raises:
    name = "raises"

    def __call__(self, snapshot: Snapshot) -> Mapping[str, Tensor]:
        raise MemoryError("no room")


def _run(configs: list[RunConfig], root: Path, **more: object) -> list[str]:
    plan = make_plan(configs, Store(root), workers=2, **more)  # type: ignore[arg-type]
    published = []
    for shard in plan.shards:
        receipt = run_shard(shard, Job(root, redo=plan.redo, observers=more.get("observers", ())))  # type: ignore[arg-type]
        assert receipt.outcome is Outcome.DONE
        published += receipt.published
    return published


def _stopped(shard: Shard, job: Job) -> None:
    stop = Event()
    assert run_shard(shard, job, report=lambda told: stop.set(), stop=stop).outcome is Outcome.STOPPED


def test_stored_runs_that_lack_a_look_are_planned_again_with_all_looks(tmp_path: Path, small: Small) -> None:
    configs = small(4, feature_schedule="at:2")
    train_runs(configs[:3], tmp_path)
    more = [dataclasses.replace(config, feature_schedule="at:5", geometry="logit-8") for config in configs]
    plan = make_plan(more, Store(tmp_path), workers=1)
    keys = {config.key for config in configs}
    assert (set(plan.looking), plan.stored, plan.runs) == ({c.key for c in configs[:3]}, (), 4)
    assert {config.feature_schedule for shard in plan.shards for config in shard.configs} == {"at:5", "at:2+5"}
    assert set(_run(more, tmp_path)) == keys
    for run in load(tmp_path):
        expected = [5, 12] if run.key == configs[3].key else [2, 5, 12]
        assert run.seen("ipr_output")[0].tolist() == expected
        assert run.config.geometry == "logit-8"
    for asked in (configs, more):
        assert set(make_plan(asked, Store(tmp_path), workers=1).stored) >= {config.key for config in configs[:3]}
    assert make_plan(more, Store(tmp_path), workers=1).runs == 0


def test_parts_honour_looks(tmp_path: Path, small: Small) -> None:
    configs = small(6)
    train_runs(configs[:2], tmp_path)
    train_runs([dataclasses.replace(configs[2], geometry="logit-8")], tmp_path)
    more = [dataclasses.replace(config, feature_schedule="every:1") for config in configs]
    planned = [
        config
        for i in (1, 2)
        for shard in make_plan(more, Store(tmp_path), workers=1, part=(i, 2)).shards
        for config in shard.configs
    ]
    assert sorted(config.key for config in planned) == sorted(config.key for config in configs)
    assert [config.geometry for config in planned if config.key == configs[2].key] == ["logit-8"]


def test_observers_given_as_objects_are_looks_of_a_sweep_too(tmp_path: Path, small: Small) -> None:
    configs = small(2)
    observers = [Observer(bias_sum, "every:3")]
    _run(configs, tmp_path)
    assert len(_run(configs, tmp_path, observers=observers)) == 2
    assert _run(configs, tmp_path, observers=observers) == []
    assert [run.seen("bias_sum")[0].tolist() for run in load(tmp_path)] == [[3, 6, 9, 12]] * 2
    with pytest.warns(UserWarning, match="2 stored runs are not trained again"):
        make_plan(configs, Store(tmp_path), workers=1, observers=[Observer(lambda snapshot: {}, "last")])


def test_a_look_that_cannot_be_taken_costs_no_stored_run(tmp_path: Path, small: Small) -> None:
    configs = small(1)
    _run(configs, tmp_path)
    plan = make_plan(configs, Store(tmp_path), workers=1, observers=[Observer(Raises(), "at:3")])
    receipt = run_shard(plan.shards[0], Job(tmp_path, observers=(Observer(Raises(), "at:3"),)))
    assert list(receipt.failed) == [configs[0].key]
    assert receipt.published == []
    assert Store(tmp_path).record(configs[0].key)["status"] == "finished"


def test_a_begun_shard_goes_on_only_with_the_looks_it_was_begun_with(tmp_path: Path, small: Small) -> None:
    configs, job = small(2), Job(tmp_path, save_every=1e-9)
    begun = Shard(tuple(configs))
    _stopped(begun, job)
    assert [shard.id for shard in make_plan(configs, Store(tmp_path), workers=1).shards] == [begun.id]
    fewer = [dataclasses.replace(config, feature_schedule="last") for config in configs]
    assert [shard.id for shard in make_plan(fewer, Store(tmp_path), workers=1).shards] == [begun.id]
    more = [dataclasses.replace(config, feature_schedule="every:1") for config in configs]
    (other,) = make_plan(more, Store(tmp_path), workers=1).shards
    assert other.id != begun.id
    receipt = run_shard(begun, job)
    assert (receipt.resumed_at, receipt.epochs) == (1, 11)


def test_a_half_done_shard_of_further_looks_is_not_swept_away(tmp_path: Path, small: Small) -> None:
    configs, job = small(2), Job(tmp_path, save_every=1e-9)
    _run(configs, tmp_path)
    more = [dataclasses.replace(config, feature_schedule="every:1") for config in configs]
    (shard,) = make_plan(more, Store(tmp_path), workers=1).shards
    _stopped(shard, job)
    sweep_up(Store(tmp_path))
    (told,) = begun_shards(tmp_path)
    assert (told["shard"], told["saved"]) == (shard.id, 1)
    (again,) = make_plan(more, Store(tmp_path), workers=1).shards
    assert run_shard(again, job).resumed_at == 1
    sweep_up(Store(tmp_path))
    assert begun_shards(tmp_path) == []


def test_a_shard_whose_task_cannot_be_imported_is_not_swept_away(tmp_path: Path, small: Small) -> None:
    configs, job = small(2), Job(tmp_path, save_every=1e-9)
    shard = Shard(tuple(configs))
    _stopped(shard, job)
    file = shard.folder(tmp_path) / "shard.json"
    found = json.loads(file.read_text())
    for config in found["configs"]:
        config["task"]["name"] = "my_tasks:Gone"
    file.write_text(json.dumps(found))
    sweep_up(Store(tmp_path))
    assert [told["members"] for told in begun_shards(tmp_path)] == [2]


def _of_schema_1(shard: Shard, root: Path) -> Path:
    """A half-done shard as the first schema left it."""
    folder = shard.folder(root)
    note = json.loads((folder / "shard.json").read_text())
    configs = [{k: v for k, v in config.items() if k != "observe"} for config in note["configs"]]
    (folder / "shard.json").write_text(json.dumps({"configs": configs}))
    for file in folder.glob("state-*.json"):
        record = json.loads(file.read_text())
        del record["sha256"]
        record |= {"schema": 1, "configs": configs}
        file.write_text(json.dumps({**record, "sha256": digest_of(record)}))
    return folder.rename(folder.with_name("0123456789abcdef"))


def test_a_half_done_shard_of_the_first_schema_goes_on(
    tmp_path: Path, small: Small, undisturbed: Callable[..., Store], assert_same_runs: Callable[..., None]
) -> None:
    configs, job = small(3), Job(tmp_path / "runs", save_every=1e-9)
    shard = Shard(tuple(configs))
    _stopped(shard, job)
    old = _of_schema_1(shard, job.root)
    with lock(old / "lock"), pytest.raises(StoreError, match=f"{old} is being trained by an earlier version"):
        make_plan(configs, Store(job.root), workers=1)
    assert [told["members"] for told in begun_shards(job.root)] == [3]
    (planned,) = make_plan(configs, Store(job.root), workers=1).shards
    assert not old.exists()
    receipt = run_shard(planned, job)
    assert (receipt.outcome, receipt.resumed_at, receipt.epochs) == (Outcome.DONE, 1, 11)
    assert_same_runs(Store(job.root), undisturbed(configs))


def test_a_half_done_shard_whose_train_losses_meant_something_else_is_refused_by_name(
    tmp_path: Path, small: Small
) -> None:
    configs, job = small(1, train_metrics="full"), Job(tmp_path, save_every=1e-9)
    shard = Shard(tuple(configs))
    _stopped(shard, job)
    _of_schema_1(shard, tmp_path)
    (planned,) = make_plan(configs, Store(tmp_path), workers=1).shards
    receipt = run_shard(planned, job)
    assert receipt.outcome is Outcome.STORAGE
    assert f"remove {planned.folder(tmp_path)}" in receipt.message
    shutil.rmtree(planned.folder(tmp_path))
    assert run_shard(planned, job).outcome is Outcome.DONE


def test_what_others_published_meanwhile_with_other_bits_is_trained_again_with_all_looks(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = small(2, feature_schedule="at:2")
    shard = Shard(tuple(configs))
    from grokfast.training import record as module

    real = module.versions
    with monkeypatch.context() as patch:
        patch.setattr(module, "versions", lambda device="cpu": {**real(device), "instruction_set": "another"})
        train_runs([dataclasses.replace(configs[0], feature_schedule="at:7")], tmp_path)
    assert set(run_shard(shard, Job(tmp_path)).published) == {config.key for config in configs}
    store = Store(tmp_path)
    looked = [np.flatnonzero(~np.isnan(store.history(config.key)["ipr_output"])) + 1 for config in configs]
    assert [epochs.tolist() for epochs in looked] == [[2, 7, 12], [2, 12]]


def test_a_stored_run_of_another_default_stops_the_plan_by_name(tmp_path: Path) -> None:
    config = RunConfig(task=ModularAddition(P=5, hidden=(4,)), epochs=2)
    train_runs([config], tmp_path)
    store = Store(tmp_path)
    record = store.record(config.key)
    record["config"]["task"]["label_noise"] = 0.2
    store.publish(config.key, record, store.history(config.key), {})
    with pytest.raises(ConfigError, match=r"task\.label_noise is 0\.2 in the stored run"):
        make_plan([config], store, workers=1)

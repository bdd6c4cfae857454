"""A store of the first schema with one of everything, written by the last version that wrote it.

One training of modular addition seen three times (schedules; geometry, split; train metrics after the epoch), a run of
Ising, one each of SGD, a divergence and a failure, measures of an end model, and two half-done shards.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from grokfast import Ising, ModularAddition, RunConfig, Store, load
from grokfast.store import upgrade_store
from grokfast.sweep import Job, Outcome, begun_shards, make_plan, run_shard
from grokfast.training import train_runs

FORMAT_1 = Path(__file__).with_name("format-1-more")
SEEN = ("a0080506b4c3d8dd", "1d06ef02daed0e30", "575c3fb85b256533")
TASK = ModularAddition(P=5, hidden=(4,))
ISING = Ising(L=4, temperatures=4, snapshots=20, sweeps=5, train_size=8, test_size=8, hidden=(3,), channels=(2,))
MAIN = RunConfig(task=TASK, epochs=4, batch_size=8, w0=2.0, seed=3)
OTHERS = {
    "e71a832f9cca8b2f": RunConfig(task=ISING, epochs=3, optimizer="adamw", seed=1),
    "d88b820883d3fdcd": RunConfig(
        task=TASK, epochs=4, optimizer="sgd", learning_rate=0.05, momentum=0.5, batch_size=17, precision="float64",
        reshuffle=True,
    ),
    "b3d762e0b7ed0406": RunConfig(task=TASK, epochs=2, w0=1e38),
    "e53e1211b2c9c0e3": RunConfig(task=ModularAddition(P=5, hidden=(2**44,)), epochs=2),
}  # fmt: skip
HALF_DONE = [
    RunConfig(task=TASK, epochs=9, batch_size=8, feature_schedule="every:3", reshuffle=True, seed=seed)
    for seed in (0, 1)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    shutil.copytree(FORMAT_1, folder)
    return folder


def test_every_run_opens_under_the_key_that_it_would_get_now(folder: Path) -> None:
    store = Store(folder)
    table = load(folder)
    assert table.damaged == []
    assert len(table) == 7
    assert len({run.key for run in table}) == 7
    for old, config in OTHERS.items():
        assert store.home(config.key) == folder / old
        assert table[config.key].config.key == config.key
    statuses = [store.record(config.key)["status"] for config in OTHERS.values()]
    assert statuses == ["finished", "finished", "diverged", "failed"]
    assert store.home(MAIN.key).name in SEEN
    assert {store.record(old)["config"]["seed"] for old in SEEN} == {3}
    geometry = store.record(SEEN[1])["looks"]
    assert geometry["geometry:logit-8:1:0.1"] == geometry["geometry:softmax-all:1:0"] == ["every:1"]
    assert (geometry["test"], geometry["checkpoints"]) == (["every:2"], ["at:2"])
    assert np.isnan(store.history(SEEN[2])["train_loss"]).all()
    assert np.isfinite(store.history(SEEN[2])["train_loss_full"]).all()


def test_columns_of_old_runs_are_described_as_those_of_today(folder: Path, tmp_path: Path) -> None:
    store, again = Store(folder), Store(tmp_path / "again")
    looks = {"geometry": "logit-8+softmax-all", "geometry_stiff": 0.1, "feature_schedule": "last"}
    ising, full = OTHERS["e71a832f9cca8b2f"], dataclasses.replace(MAIN, train_metrics="full", seed=7)
    train_runs([dataclasses.replace(MAIN, **looks), ising, full], again)
    for old, key in ((SEEN[1], MAIN.key), ("e71a832f9cca8b2f", ising.key), (SEEN[2], full.key)):
        now = {(c["name"], c["kind"]): c for c in again.record(key)["columns"]}
        then = {(c["name"], c["kind"]): c for c in store.record(old)["columns"]}
        if old == SEEN[2]:  # it had no running train loss
            now = {k: c for k, c in now.items() if k in then or k[0].endswith("_full")}
        assert {name for name, _ in then} <= {name for name, _ in now}
        scalars = {name for name, kind in now if kind != "array"}
        assert scalars - {name for name, _ in then} <= {"chance", "settled"}  # recorded by later versions alone
        for place, column in then.items():
            wanted = now[place]
            assert (column["unit"], column["headline"], column["measure"]) == (
                wanted["unit"], wanted["headline"], wanted["measure"],
            ), place  # fmt: skip
            assert (column["meaning"], column["label"]) == (wanted["meaning"], wanted["label"])
    for old in SEEN:
        described = {column["name"] for column in store.record(old)["columns"]}
        values = {*store.history(old), *store.record(old)["summary"], *store.tensors(old, "arrays")}
        undescribed = {"epoch", "test_looks", "pruning_fractions", "order_generator", "train_loss", "train_accuracy"}
        assert values - described - undescribed == set()


def test_stored_trainings_are_the_ones_of_today(folder: Path, tmp_path: Path) -> None:
    configs = [dataclasses.replace(MAIN, feature_schedule="every:2"), *list(OTHERS.values())[:2]]
    geometry = {"geometry": "logit-8", "feature_schedule": "last", "test_schedule": "every:2"}
    looks = [geometry, {"train_metrics": "full"}]
    for asked in (configs, *([dataclasses.replace(MAIN, **look)] for look in looks)):
        assert train_runs(asked, folder) == []  # whichever of the three has seen it
    import torch

    if Store(folder).record(MAIN.key)["versions"]["torch"] != torch.__version__:
        pytest.skip("BITS NOT COMPARED: the stored runs were trained by another torch")
    again = Store(tmp_path / "again")
    train_runs(configs, again)
    for config in configs:
        stored, now = Store(folder).tensors(config.key, "checkpoints"), again.tensors(config.key, "checkpoints")
        for name, values in now.items():
            np.testing.assert_allclose(values, stored[name], rtol=1e-4, atol=1e-6)


def test_one_training_seen_three_times_becomes_one_run_that_has_seen_it_all(folder: Path) -> None:
    store = Store(folder)
    before = {old: store.history(old) for old in SEEN}
    measured = {run.config.feature_schedule: row for run, row in zip(load(folder), load(folder).rows, strict=True)}
    assert any("gini_weights" in row for row in measured.values())
    done = upgrade_store(store)
    assert done.kept == []
    assert set(done.moved | done.joined) == {*SEEN, *OTHERS}
    assert len(done.joined) == 2
    store = Store(folder)
    table = load(folder)
    assert {run.key for run in table} == {MAIN.key, *(config.key for config in OTHERS.values())}
    run = table[MAIN.key]
    store.check(run.key)
    for history in before.values():
        for name, values in history.items():
            known = ~np.isnan(values)
            np.testing.assert_array_equal(run.history[name][known], values[known])
    assert np.isfinite(run.history["train_loss"]).all()
    assert np.isfinite(run.history["train_loss_full"]).all()
    assert (run.summary["test_looks"], run.summary["t_test"]) == ("every:1", store.record(SEEN[0])["summary"]["t_test"])
    assert {"t_train", "t_train_full", "stiff_share_logit_8"} <= set(run.summary)
    assert run.config.geometry == "logit-8+softmax-all"
    assert run.config.train_metrics == "full"
    assert {name.split("/")[0] for name in store.tensors(run.key, "checkpoints")} == {"2", "4"}
    (row,) = (row for row in table.rows if row["key"] == MAIN.key)
    assert "gini_weights" in row
    for old in (*SEEN, *OTHERS):
        assert store.has(old)
    assert make_plan([MAIN], store, workers=1).stored == (MAIN.key,)


@pytest.mark.parametrize("first", ["upgraded", "as it is"])
def test_half_done_shards_go_on_or_are_refused_by_name(folder: Path, first: str) -> None:
    if first == "upgraded":
        upgrade_store(Store(folder))
    assert sorted(shard["members"] for shard in begun_shards(folder)) == [1, 2]
    (shard,) = make_plan(HALF_DONE, Store(folder), workers=1).shards
    receipt = run_shard(shard, Job(folder))
    assert (receipt.outcome, receipt.resumed_at, receipt.epochs) == (Outcome.DONE, 1, 8)
    full = RunConfig(**{**vars(HALF_DONE[0]), "seed": 2, "train_metrics": "full"})
    (shard,) = make_plan([full], Store(folder), workers=1).shards
    receipt = run_shard(shard, Job(folder))
    assert receipt.outcome is Outcome.STORAGE
    assert f"remove {shard.folder(folder)}" in receipt.message

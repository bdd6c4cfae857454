from __future__ import annotations

import pytest

from grokfast.errors import ConfigError
from grokfast.runs import load
from grokfast.store import Store
from grokfast.tasks import ModularAddition
from grokfast.training import RunConfig, plan_stacks, train_runs

TASK = ModularAddition(P=7, hidden=(8,))


def _configs(count=3, **fields):
    return [RunConfig(task=TASK, seed=seed, epochs=2, **fields) for seed in range(count)]


def test_trains_once_and_again_only_by_force(tmp_path):
    store = Store(tmp_path / "runs")
    configs = _configs()
    assert train_runs(configs[:2], store) == [c.key for c in configs[:2]]
    assert train_runs(configs, store) == [configs[2].key]
    before = store.path(configs[0].key)
    assert train_runs(configs, store) == []
    assert train_runs(configs[:1], store, force=True) == [configs[0].key]
    assert store.path(configs[0].key) != before
    assert before.is_dir()  # the earlier version is left intact


def test_threads_do_not_change_what_is_learned(tmp_path):
    configs = _configs(5)
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    for threads, store in zip((1, 2), stores, strict=True):
        train_runs(configs, store, threads=threads)
    for config in configs:
        one, two = (store.tensors(config.key, "checkpoints") for store in stores)
        assert all((two[name] == values).all() for name, values in one.items())


def test_plan_groups_what_can_be_stacked():
    mixed = [*_configs(5), *_configs(3, batch_size=8)]
    stacks = plan_stacks(mixed, threads=2, size=4)
    assert sorted(c.key for stack in stacks for c in stack) == sorted(c.key for c in mixed)
    assert all(len({c.stack_key for c in stack}) == 1 and len(stack) <= 4 for stack in stacks)
    assert len(plan_stacks(_configs(5), threads=2)) == 2
    assert [len(s) for s in plan_stacks(_configs(1), threads=8)] == [1]
    assert plan_stacks([], threads=2) == []


def test_an_error_in_one_stack_reaches_the_caller_and_keeps_finished_runs(tmp_path):
    store = Store(tmp_path / "runs")
    train_runs(_configs(1), store)

    def fail(state):
        raise ValueError("observer gone wrong")

    with pytest.raises(ValueError, match="observer gone wrong"):
        train_runs(_configs(4), store, threads=2, on_epoch=fail)
    assert [run.key for run in load(store.root)] == [_configs(1)[0].key]


def test_rejects(tmp_path):
    with pytest.raises(ConfigError, match="1 repeated"):
        train_runs([*_configs(2), *_configs(1)], Store(tmp_path))
    with pytest.raises(ConfigError, match="threads"):
        train_runs(_configs(1), Store(tmp_path), threads=0)

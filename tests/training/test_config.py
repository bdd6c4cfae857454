from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from grokfast.errors import ConfigError
from grokfast.tasks import Ising, Modular, ModularAddition, SparseParity
from grokfast.training import Optimizer, RunConfig, missing_looks, only_looks, with_looks
from grokfast.training.fields import added


def test_json_round_trip():
    config = RunConfig(task=ModularAddition(P=7, hidden=(5, 6)), w0=0.1, optimizer="sgd", seed=3)
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.key == config.key
    assert again.optimizer is Optimizer.SGD


def test_one_spelling_of_each_value():
    plain = RunConfig(w0=1.0, seed=2)
    assert RunConfig(w0=1, seed=np.int64(2)).key == plain.key
    assert RunConfig(w0=np.float32(1)).key == RunConfig().key
    assert RunConfig(task=ModularAddition(hidden=[512])).key == RunConfig().key


def test_keys_tell_configurations_apart():
    keys = {RunConfig(**fields).key for fields in ({}, {"w0": 2}, {"seed": 1}, {"precision": "float64"})}
    assert len(keys) == 4


def test_keys_stay():
    # Also the key of the run in tests/store/format-1, whose folder bears its key of the first schema.
    task = ModularAddition(P=5, hidden=(8,))
    assert RunConfig(task=task, epochs=4, batch_size=8, w0=2.0, seed=3).key == "0f9faa2e6f71642e"
    assert RunConfig().key == "a73a06e70a9148cd"
    assert RunConfig(optimizer="sgd", momentum=0.5, precision="float64").key == "482f790f4a8bb147"


@pytest.mark.parametrize(
    "fields",
    [
        {"checkpoint_schedule": "every:10"},
        {"feature_schedule": "never"},
        {"compressibility_schedule": "log:5"},
        {"test_schedule": "every:2"},
        {"train_metrics": "full"},
        {"geometry": "logit-16", "geometry_stiff": 0.1},
        {"geometry_schedule": "every:2"},
        {"geometry_step": 2},
        {"observe": ["somewhere:measure@every:3"]},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_a_key_does_not_say_what_was_looked_at(fields):
    assert RunConfig(**fields).key == RunConfig().key
    same = fields.keys() & {"geometry_schedule", "geometry_step"} or fields == {"feature_schedule": "log:50"}
    assert (RunConfig(**fields).stack_key == RunConfig().stack_key) == bool(same)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"momentum": 0.5}, {}),
        ({"optimizer": "adamw", "momentum": 0}, {"optimizer": "adamw"}),
        ({"optimizer": "sgd", "beta1": 0.5, "beta2": 0.5, "eps": 1.0}, {"optimizer": "sgd"}),
        ({"weight_decay": -0.0}, {"weight_decay": 0}),
        ({"w0": np.float32(2), "seed": np.int64(3)}, {"w0": 2, "seed": 3}),
        ({"learning_rate": np.float64(0.1)}, {"learning_rate": 0.1}),
        ({"task": ModularAddition(P=7), "batch_size": 35}, {"task": ModularAddition(P=7), "batch_size": 34}),
        ({"task": ModularAddition(label_noise=-0.0)}, {}),
        ({"task": ModularAddition(hidden=[np.int32(512)])}, {}),
        ({"reshuffle": np.bool_(True)}, {"reshuffle": True}),
    ],
)
def test_spellings_of_one_training_have_one_key(one, other):
    assert RunConfig(**one).key == RunConfig(**other).key
    assert RunConfig(**one).family == RunConfig(**other).family
    assert RunConfig(**one).stack_key == RunConfig(**other).stack_key


def test_more_epochs_are_another_run_of_the_family():
    assert RunConfig(epochs=10).key != RunConfig(epochs=20).key
    assert RunConfig(epochs=10).family == RunConfig(epochs=20).family != RunConfig(epochs=10, seed=1).family


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        ("every:01", ["every:1"]),
        ("at:2+1+2", ["at:1+2"]),
        ("every:5000", ["last"]),
        ("never", ["last"]),
        ("at:1000", ["last"]),
        ("log:050,every:100,last", ["every:100", "log:50"]),
        ("at:3,at:1,at:1000", ["at:1+3"]),
    ],
)
def test_looks_have_one_spelling(schedule, parts):
    assert RunConfig(feature_schedule=schedule).looks()["features"] == parts


def test_looks_join_and_come_back():
    config = RunConfig(geometry="logit-16", observe=("m:rank@every:3",), test_schedule="every:10")
    more = {
        "geometry:softmax-all:1:0.1": ["log:5"], "m:rank": ["at:7"], "features": ["every:100"],
        "full_train": ["every:1"],
    }  # fmt: skip
    both = with_looks(config, more)
    assert both.key == config.key
    assert missing_looks(config.looks(), both.looks(), 1000) == {}
    assert missing_looks(more, both.looks(), 1000) == {}
    assert set(missing_looks(both.looks(), config.looks(), 1000)) == {
        "geometry:softmax-all:1:0.1", "geometry:softmax-all:1:0", "geometry:logit-16:1:0.1",
        "m:rank", "features", "full_train",
    }  # fmt: skip
    assert both.observe == ("m:rank@at:7,every:3",)
    assert both.test_schedule == "every:10"
    assert only_looks(RunConfig(), both.looks()) == both
    assert RunConfig.from_dict(json.loads(json.dumps(both.to_dict()))) == both


def test_a_denser_schedule_covers_a_coarser_one():
    looks = RunConfig(test_schedule="every:2").looks()
    assert missing_looks(RunConfig(test_schedule="every:10").looks(), looks, 1000) == {}
    assert set(missing_looks(RunConfig(test_schedule="every:3").looks(), looks, 1000)) == {"test"}
    # The last epoch is always looked at, whatever the schedule says.
    assert missing_looks(RunConfig().looks(), RunConfig(checkpoint_schedule="at:2").looks(), 1000) == {}


@pytest.mark.parametrize("other", [{"geometry_step": 2}, {"geometry_stiff": 0.3}])
def test_geometries_of_the_same_columns_do_not_join(other):
    one = RunConfig(geometry="logit-16", geometry_stiff=0.1)
    with pytest.raises(ConfigError, match="columns of the same names"):
        with_looks(one, RunConfig(**{"geometry": "logit-16", "geometry_stiff": 0.1, **other}).looks())


@dataclasses.dataclass(frozen=True)
class Extended(RunConfig):
    nesterov: bool = added(False)


def test_a_field_added_later_changes_no_key_at_the_value_it_was_introduced_with():
    assert Extended().key == RunConfig().key
    assert Extended(nesterov=True).key != RunConfig().key


@dataclasses.dataclass(frozen=True)
class Tilted(ModularAddition):
    __module__ = ModularAddition.__module__  # as if a later version's own
    tilt: float = 0.0


# The next version of the same class, which is found by the same name.
Tilted.__module__, Tilted.__qualname__ = ModularAddition.__module__, ModularAddition.__qualname__


def test_a_default_field_that_a_task_gains_changes_no_key():
    assert RunConfig(task=Tilted()).key == RunConfig().key
    assert RunConfig(task=Tilted(tilt=0.5)).key != RunConfig().key


@pytest.mark.parametrize(
    "fields",
    [
        {"reshuffle": "false"}, {"reshuffle": 0}, {"seed": 2**63}, {"seed": 2.0}, {"epochs": True}, {"w0": True},
        {"w0": 10**400}, {"test_schedule": 5}, {"geometry": None}, {"observe": "m:rank@last"}, {"observe": ["m:rank"]},
        {"observe": ["@last"]}, {"observe": ["m@often"]}, {"optimizer": None}, {"batch_size": None}, {"eps": "1e-8"},
        {"precision": torch.float32}, {"learning_rate": float("inf")},
    ],
    ids=str,
)  # fmt: skip
def test_every_field_has_one_checked_type(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        RunConfig(**fields)


@pytest.mark.parametrize(
    "task",
    [
        lambda: ModularAddition(P=2**70), lambda: ModularAddition(P=5.0), lambda: ModularAddition(hidden="16"),
        lambda: ModularAddition(hidden=16), lambda: ModularAddition(hidden=(2.5,)), lambda: Ising(stratified="False"),
        lambda: ModularAddition(train_fraction="0.5"), lambda: Ising(data_file=3), lambda: Ising(channels=4),
        lambda: Modular(bias="no"), lambda: Modular(width=True), lambda: SparseParity(n="5"),
    ],
)  # fmt: skip
def test_every_field_of_a_task_has_one_checked_type(task):
    with pytest.raises(ConfigError, match="must be"):
        task()


def test_a_task_has_one_spelling_of_its_values():
    spelled = ModularAddition(P=np.int32(7), hidden=[np.int64(16)], train_fraction=np.float32(0.5), label_noise=0)
    plain = ModularAddition(P=7, hidden=(16,), train_fraction=0.5, label_noise=0.0)
    assert spelled == plain
    assert [type(value) for value in vars(spelled).values()] == [type(value) for value in vars(plain).values()]
    assert RunConfig(task=spelled).key == RunConfig(task=plain).key
    assert type(Ising(dynamics="glauber").dynamics) is type(Ising().dynamics)


def test_metrics_have_one_spelling():
    config = RunConfig(geometry="softmax-all-full+softmax-all+logit-16", geometry_stiff=1)
    assert config.geometry == "logit-16+softmax-all+softmax-all-full"
    assert config.key == RunConfig(geometry="logit-16+softmax-all+softmax-all-full", geometry_stiff=1.0).key
    assert RunConfig.from_dict(config.to_dict()) == config


def test_stack_key_ignores_what_members_may_differ_in():
    base = RunConfig()
    assert RunConfig(w0=2, seed=1, learning_rate=1, weight_decay=0).stack_key == base.stack_key
    assert RunConfig(task=ModularAddition(label_noise=0.2)).stack_key == base.stack_key
    assert RunConfig(batch_size=1).stack_key != base.stack_key


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"w0": 0}, "w0 must be a finite number > 0, got 0"),
        ({"w0": float("nan")}, "w0"),
        ({"w0": "1"}, "w0"),
        ({"w0": 5e-324}, r"w0 must be 0 or of size 2\.23e-308 or more, got 5e-324"),
        ({"weight_decay": -1e-310}, "weight_decay must be 0 or of size"),
        ({"learning_rate": -1e-3}, "learning_rate"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"epochs": 2.5}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"beta1": 1.0}, "beta1"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"precision": "float16"}, "precision"),
        ({"task": "modular-addition"}, "task"),
        ({"feature_schedule": "at:2000"}, "outside 1 .. 1000"),
        ({"geometry": "softmx-all"}, "did you mean 'softmax'"),
        ({"geometry": "softmax"}, "a metric must be 'FISHER-SAMPLES'"),
        ({"geometry": "logit-0"}, "got 'logit-0'"),
        ({"geometry": "logit-16+logit-16"}, "twice"),
        ({"geometry": "logit-16-ful"}, "got 'logit-16-ful'"),
        ({"geometry_step": 0}, "geometry_step must be an integer >= 1"),
        ({"geometry_stiff": -0.1}, "geometry_stiff"),
        ({"geometry_schedule": "often"}, "a schedule must be"),
    ],
)
def test_rejects_bad_values(fields, words):
    with pytest.raises(ConfigError, match=words):
        RunConfig(**fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight_deacy": 1.0}, "no field 'weight_deacy'; did you mean 'weight_decay'"),
        ({"task": {"name": "modular-adition"}}, "did you mean 'modular-addition'"),
        ({"task": {"train_frac": 0.5}}, "no field 'train_frac'; did you mean 'train_fraction'"),
        ({"reshuffle": 1}, "reshuffle must be of type bool"),
        ({"w0": "big"}, "w0 must be of type float"),
        ({"seed": True}, "seed must be of type int"),
    ],
)
def test_rejects_bad_keys_and_types_from_files(change, words):
    with pytest.raises(ConfigError, match=words):
        RunConfig.from_dict({**RunConfig().to_dict(), **change})

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from grokfast.errors import ConfigError
from grokfast.tasks import ModularAddition
from grokfast.training import Optimizer, RunConfig, introduced


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


def test_keys_of_runs_stored_before_a_field_was_added_stay():
    # Written by the first version; also the folder's name in tests/store/format-1.
    task = ModularAddition(P=5, hidden=(8,))
    first = RunConfig(task=task, epochs=4, batch_size=8, w0=2.0, seed=3, feature_schedule="every:2")
    assert first.key == "e8af617f294651f6"
    assert set(introduced()) == {
        "test_schedule", "geometry", "geometry_schedule", "geometry_step", "geometry_stiff",
    }  # fmt: skip
    for change in (
        {"geometry": "logit-16"}, {"geometry_schedule": "every:2"}, {"geometry_step": 2}, {"test_schedule": "every:2"},
    ):  # fmt: skip
        assert dataclasses.replace(first, **change).key != first.key
    for name, value in introduced().items():
        assert getattr(RunConfig(), name) == value, f"keys would change: give {name} back the default {value!r}"


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

"""Records of the first schema, read as records of the second.

The first schema named a run by everything in its configuration, schedules of what was looked at included. Nothing
here depends on the tasks' classes: what the two tasks of that time declared is written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokfast.errors import StoreError
from grokfast.store.columns1 import columns_of
from grokfast.store.identity import SCHEMA, canonical, family_of, identity, key_of

_INTRODUCED: dict[str, Any] = {
    "test_schedule": "every:1",
    "geometry": "",
    "geometry_schedule": "every:1",
    "geometry_step": 1,
    "geometry_stiff": 0.0,
}
"""Fields that the first runs lack, and what they have."""

_LOOKS = {
    "checkpoints": "checkpoint_schedule",
    "features": "feature_schedule",
    "compressibility": "compressibility_schedule",
    "test": "test_schedule",
}
_NO_TRAINING = {*_LOOKS.values(), *_INTRODUCED, "train_metrics"}

_TASKS: dict[str, dict[str, Any]] = {
    "modular-addition": {
        "class": "grokfast.tasks.modular_addition:ModularAddition",
        "title": "Modular addition",
        "defaults": {"P": 113, "hidden": [512], "train_fraction": 0.7, "label_noise": 0.0},
        "unkeyed": (),
    },
    "ising": {
        "class": "grokfast.tasks.ising:Ising",
        "title": "Ising phases",
        "defaults": {
            "L": 16,
            "channels": [2, 4],
            "kernel": 3,
            "hidden": [100],
            "dynamics": "metropolis",
            "sweeps": 40,
            "temperatures": 50,
            "snapshots": 1000,
            "data_seed": 0,
            "train_size": 300,
            "test_size": 1000,
            "label_noise": 0.0,
            "data_file": "",
            "data_hash": "",
        },
        "unkeyed": ("data_file",),
    },
}

_FULL_HISTORY = ("train_loss", "train_accuracy")
_FULL_SUMMARY = (
    *("end_train_loss", "end_train_accuracy"),
    *("t_train", "t_grok", "groks", "t_train_90", "t_grok_90", "groks_90"),
)


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as the second schema has it.

    Args:
        record: Of any schema; one of the second is returned as it is.

    Raises:
        StoreError: If it is of the first schema and lacks something, or names a task that schema did not know.
    """
    if record.get("schema") != 1:
        return dict(record)
    try:
        return _upgraded(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"run.json of run {record.get('key')} is damaged: {type(error).__name__} {error}") from error


def renamed_columns(record: Mapping[str, Any]) -> dict[str, str]:
    """Columns of a first-schema run's history whose names mean something else now, and their names now."""
    return {name: f"{name}_full" for name in _FULL_HISTORY} if _is_full(record) else {}


def _is_full(record: Mapping[str, Any]) -> bool:
    return record.get("schema") == 1 and record["config"].get("train_metrics") == "full"


def _upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    config = {**_INTRODUCED, **record["config"]}
    name = config["task"]["name"]
    if name not in _TASKS:
        raise StoreError(f"run {record['key']} is of task {name!r}: the first schema knew {sorted(_TASKS)}")
    task = _TASKS[name]
    training = {field: value for field, value in config.items() if field not in _NO_TRAINING}
    batch_size = min(training["batch_size"], _train_samples(training["task"]))
    made = identity({**training, "batch_size": batch_size}, defaults=task["defaults"], unkeyed=task["unkeyed"])
    looks = {} if record["status"] == "failed" else _looks_of(config)
    summary = {_full(field) if _is_full(record) else field: value for field, value in record["summary"].items()}
    if "t_test" in summary:
        summary["test_looks"] = _schedule(config["test_schedule"])
    return {
        **record,
        "schema": SCHEMA,
        "key": key_of(made),
        "family": family_of(made),
        "task_class": task["class"],
        "title": task["title"],
        "config": training,
        "looks": looks,
        "summary": summary,
        "columns": columns_of(summary, looks),
        "problems": {},
        "parent": None,
        "versions": {"grokfast": None, "instruction_set": None, "engine": None, **record["versions"]},
    }


def _full(field: str) -> str:
    return f"{field}_full" if field in _FULL_SUMMARY else field


def _looks_of(config: Mapping[str, Any]) -> dict[str, list[str]]:
    looks = {look: [_schedule(config[field])] for look, field in _LOOKS.items()}
    if config["train_metrics"] == "full":
        looks["full_train"] = ["every:1"]
    step, stiff = config["geometry_step"], float(config["geometry_stiff"])
    for metric in filter(None, config["geometry"].split("+")):
        for border in dict.fromkeys(("0", str(canonical(stiff)))):
            looks[f"geometry:{metric}:{step}:{border}"] = [config["geometry_schedule"]]
    return looks


def _schedule(spec: str) -> str:
    """These four looks are always taken at the last epoch."""
    return "last" if spec == "never" else spec


def _train_samples(task: Mapping[str, Any]) -> int:
    if task["name"] == "ising":
        return int(task["train_size"])
    return int(task["train_fraction"] * task["P"] ** 2 + 1e-9)

"""What is written about a run: identity, looks, outcome, and everything that its bits depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch

from grokfast.errors import ConfigError
from grokfast.ops import instruction_set
from grokfast.store.identity import SCHEMA, difference
from grokfast.training.config import RunConfig
from grokfast.training.looks import only_looks

ENGINE = 2
"""Raised with every change of the engine that changes the bits of any run."""


def run_record(config: RunConfig, device: str | torch.device = "cpu", **outcome: Any) -> dict[str, Any]:
    """The record of a run, as ``run.json`` holds it.

    Args:
        config: The run.
        device: Where it was trained.
        **outcome: What came of it; entries named as below take their place.

    Returns:
        JSON values: ``schema``, ``key``, ``family`` (what runs share that differ in their number of epochs alone),
        ``task_class``, ``title``, ``config`` (what was trained), ``looks``, ``status``, ``diverged_epoch``,
        ``reason``, ``summary``, ``columns`` (what the measured columns are), ``problems`` (why a column ends),
        ``parent`` (key of the shorter run that this one extends), ``extended_at`` (the epoch at which it was
        taken up from the parent's kept state; 0 if it was trained from the start), ``seconds``, ``stacked_with``,
        ``host``, ``versions``.
    """
    task = type(config.task)
    return {
        "schema": SCHEMA,
        "key": config.key,
        "family": config.family,
        "task_class": f"{task.__module__}:{task.__qualname__}",
        "title": str(getattr(config.task, "title", config.task.name)),
        "config": config.training(),
        "looks": config.looks(),
        "status": "finished",
        "diverged_epoch": None,
        "reason": None,
        "summary": {},
        "columns": [],
        "problems": {},
        "parent": None,
        "extended_at": 0,
        "seconds": 0.0,
        "stacked_with": 0,
        "host": platform.node(),
        "versions": versions(device),
        **outcome,
    }


def versions(device: str | torch.device = "cpu") -> dict[str, Any]:
    """What the bits of a run depend on besides its configuration."""
    where = torch.device(device)
    kernels = instruction_set()
    if where.type == "cuda":
        kernels = f"{kernels}, {torch.cuda.get_device_name(where)}"
    return {
        "grokfast": metadata.version("grokfast"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "instruction_set": kernels,
        "engine": ENGINE,
    }


def config_of(record: Mapping[str, Any]) -> RunConfig:
    """The configuration that a record tells of, with all its looks.

    Raises:
        ConfigError: If it holds a field or a value that no configuration has.
    """
    return only_looks(RunConfig.from_dict(record["config"]), record["looks"])


def check_same_training(record: Mapping[str, Any], config: RunConfig) -> None:
    """Raise if a stored run of the configuration's key was another training.

    Raises:
        ConfigError: If so, which happens when the default of a field has changed since; the field is named.
    """
    # Batch sizes of one key differ only beyond the number of samples.
    stored = {name: value for name, value in record["config"].items() if name != "batch_size"}
    found = difference(stored, config.training(), config.task.unkeyed)
    if found is not None:
        raise ConfigError(
            f"the stored run {config.key} was another training: {found}. The default of the field has changed since "
            "it was stored, and fields at their default are no part of a key: use a store of its own for these runs"
        )

"""Looks that need a stored run's end model alone: taken from it, without training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from grokfast.errors import ChangedError
from grokfast.models import stack_members
from grokfast.observe import LooksAround, Measure, Need, Observer, Remembers, Snapshot, Watch
from grokfast.store import Store
from grokfast.store.merge import Content
from grokfast.tasks import fresh_module
from grokfast.training.config import RunConfig
from grokfast.training.looks import joined_looks, missing_looks
from grokfast.training.loop import METRICS
from grokfast.training.observing import asked_observers, built_in_observers
from grokfast.training.stored import Sink, held_looks


def look_at_end(config: RunConfig, sink: Sink) -> bool:
    """Take what a configuration asks for besides what its stored run has, if that needs the end model alone.

    Args:
        config: The run, with the looks of the stored one.
        sink: Where it may be stored.

    Returns:
        Whether the stored run has everything now; otherwise it has to be trained.

    Raises:
        ConfigError: If a measure is refused.
        StoreError: If the store cannot be written.
    """
    held = held_looks(config, sink) if isinstance(sink, Store) else None
    if held is None or not isinstance(sink, Store):
        return False
    missing = missing_looks(config.looks(), held, config.epochs)
    references = [entry.rpartition("@")[0] for entry in config.observe]
    if not missing or not missing.keys() <= set(references) or any(at != ["last"] for at in missing.values()):
        return False
    asked = zip(references, asked_observers(config), strict=True)
    observers = [observer for name, observer in asked if name in missing]
    version, content = sink.version(config.key), sink.content(config.key)
    if content is None or any(map(_needs_the_path, observers)):
        return False
    try:
        sink.publish(config.key, *_seen(config, content, observers, missing), after=version)
    except ChangedError:
        return False
    return True


def _needs_the_path(observer: Observer) -> bool:
    measure: object = observer.measure
    needs = measure.needs if isinstance(measure, Measure) else frozenset()
    return isinstance(measure, LooksAround | Remembers) or bool({Need.PAST, Need.TWO_RUNS} & set(needs))


def _seen(
    config: RunConfig, content: Content, observers: Sequence[Observer], missing: dict[str, list[str]]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Record, history and arrays of the run with what the observers see at its end."""
    names = [name for name, _ in fresh_module(config.task).named_parameters()]
    stored = content.tensors["checkpoints"]
    end = {name: torch.from_numpy(stored[f"{config.epochs}/{name}"]) for name in names}
    params = stack_members([end], config.task.input_major)
    metrics = {name: torch.tensor([float(content.history[name][-1])], dtype=torch.float64) for name in METRICS}
    snapshot = Snapshot(config.epochs, config.task, params, [config.task.split(config.seed)], [config], metrics)
    watch = Watch([*built_in_observers(config), *observers], config.epochs)
    watch.prepare(snapshot)
    with torch.no_grad():
        found = {name: float(values[0]) for name, (_, values) in watch.look(snapshot).items()}
    history = dict(content.history)
    for name, value in found.items():
        history[name] = np.full(config.epochs, np.nan)
        history[name][-1] = value
    columns = {column["name"]: column for column in content.record["columns"]}
    for name in found:
        owner, column = watch.columns[name]
        columns[name] = {**column.to_dict(), "measure": owner}
    record = {
        **content.record,
        "looks": joined_looks(content.record["looks"], missing),
        "summary": {
            **content.record["summary"],
            **{name: value if math.isfinite(value) else None for name, value in found.items()},
        },
        "columns": list(columns.values()),
        "problems": {**content.record["problems"], **watch.problems},
    }
    return record, history, dict(content.tensors)

"""Runs that a store holds already: what is left to train of a configuration, and how a result joins them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from grokfast.errors import ChangedError, ConfigError, StoreError
from grokfast.store import Store
from grokfast.store.identity import SCHEMA
from grokfast.store.merge import Content
from grokfast.training.config import RunConfig
from grokfast.training.looks import OBJECT, Looks, joined_looks, missing_looks, with_looks
from grokfast.training.record import check_same_training
from grokfast.training.results import RunResult

_DECIDED_BY = ("test", "full_train")  # looks that learning times are taken from


class Sink(Protocol):
    """Where finished runs go.

    A :class:`grokfast.store.Store` is one, and the only one whose runs can be looked at again: of any other, a run that
    it has is left alone.
    """

    def check_writable(self) -> None:
        """Raise before training if nothing can be written."""
        ...

    def has(self, key: str) -> bool:
        """Whether a run is there already."""
        ...

    def publish(self, key: str, record: Any, history: Any, tensors: Any) -> Any:
        """Keep one finished run."""
        ...


def united(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Configurations of different keys: those of one key become one that looks at all that any of them does.

    Raises:
        ConfigError: If two are equal, or their looks have columns of the same names.
    """
    found: dict[str, RunConfig] = {}
    repeated = len(configs) - len({json.dumps(config.to_dict(), sort_keys=True) for config in configs})
    if repeated:
        raise ConfigError(f"expected different configurations, got {repeated} repeated ones")
    for config in configs:
        key = config.key
        found[key] = with_looks(found[key], config.looks()) if key in found else config
    return list(found.values())


def held_looks(config: RunConfig, sink: Sink) -> dict[str, list[str]] | None:
    """What a sink's run of a configuration has looked at; None if there is none that counts.

    Raises:
        ConfigError: If the run of this key was another training.
        StoreError: If a later version of grokfast wrote it.
    """
    key = config.key
    if not sink.has(key):
        return None
    if not isinstance(sink, Store):
        return config.looks()
    try:
        record = sink.record(key)
    except StoreError:
        return None  # damaged: it is trained again
    if record["schema"] > SCHEMA:
        raise StoreError(
            f"run {key} was written by a later version of grokfast (schema {record['schema']}, this one knows "
            f"{SCHEMA}): upgrade with `pip install -U grokfast`"
        )
    check_same_training(record, config)
    return None if record["status"] == "failed" else dict(record["looks"])


def outstanding(config: RunConfig, sink: Sink, more: Looks, *, force: bool = False) -> RunConfig | None:
    """What is left to train: the configuration, with all that the stored run has looked at besides.

    Args:
        config: The run.
        sink: Where it may be stored.
        more: Looks that are wanted besides those of the configuration.
        force: Train also what is there and complete.

    Returns:
        None if the stored run has looked at everything.

    Raises:
        ConfigError: If the stored run was another training, or looked at columns of the same names in another way.
        StoreError: If a later version of grokfast wrote it.
    """
    held = held_looks(config, sink)
    if held is None:
        return config
    wanted = joined_looks(config.looks(), more)
    if not force and any(not missing_looks(wanted, looks, config.epochs) for looks in (held, *_others(config, sink))):
        return None
    try:
        return with_looks(config, held)
    except ConfigError as error:
        raise ConfigError(f"run {config.key} is stored with other looks: {error}") from error


def _others(config: RunConfig, sink: Sink) -> Iterator[dict[str, list[str]]]:
    """Looks of further runs of the first schema that are the same training."""
    if isinstance(sink, Store):
        for name in sink.others(config.key):
            with suppress(StoreError):
                yield sink.record(name)["looks"]


def warn_unseen(skipped: int, nameless: Sequence[str]) -> None:
    """Say that stored runs are not trained again for observers that cannot be told from others."""
    if skipped and nameless:
        warnings.warn(
            f"{skipped} stored runs are not trained again, so that {', '.join(nameless)} will not see them: give the "
            "measure a `name` to have it told from others, or train with force",
            stacklevel=4,
        )


def publish(sink: Sink, result: RunResult) -> dict[str, list[str]] | None:
    """Hand a finished run to a sink, together with what only its version in force saw.

    Args:
        sink: Where it goes.
        result: The run.

    Returns:
        None if it was published. Otherwise someone else has published the run meanwhile with looks that this result
        neither has nor can take over, since the bits differ: these looks, with which it has to be trained again.
    """
    if not isinstance(sink, Store):
        sink.publish(result.key, result.record, result.history, result.tensors)
        return None
    epochs = result.record["config"]["epochs"]
    shorter = {length: key for length, key in sink.relatives(result.record["family"]) if length < epochs}
    longest = next(reversed(shorter), 0)
    record = {**result.record, "parent": shorter.get(result.record["extended_at"] or longest)}
    while True:
        after = sink.version(result.key)
        lost = _lost(sink, result)
        if lost:
            return lost
        try:
            sink.publish(result.key, record, result.history, result.tensors, after=after)
        except ChangedError:
            continue
        return None


def _lost(store: Store, result: RunResult) -> dict[str, list[str]]:
    try:
        held = store.record(result.key)
    except StoreError:
        return {}
    epochs = result.record["config"]["epochs"]
    missing = missing_looks(held["looks"], result.record["looks"], epochs)
    # No configuration asks for looks of objects: they are taken over, or stay in the earlier version.
    missing = {name: at for name, at in missing.items() if not name.startswith(OBJECT)}
    if not missing or result.record["status"] == "failed":
        return {}
    content = Content(result.record, result.history, result.tensors)
    if not missing.keys() & set(_DECIDED_BY) and store.is_same(result.key, content):
        return {}
    return missing

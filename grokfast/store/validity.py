"""What a record must look like, so that one bad value costs one run and not the table it would stand in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from grokfast.errors import StoreError
from grokfast.store.identity import LARGEST

_STATUSES = ("finished", "diverged", "failed")
_FIELDS: dict[str, type] = {
    **dict.fromkeys(("w0", "learning_rate", "weight_decay", "beta1", "beta2", "eps", "momentum", "rate_end"), float),
    **dict.fromkeys(("seed", "epochs", "batch_size", "warmup_steps"), int),
    **dict.fromkeys(("optimizer", "precision", "rate_decay"), str),
    "reshuffle": bool,
}


def check_record(record: Mapping[str, Any]) -> None:
    """Raise unless a record of the second schema has the form it must have.

    Records of later schemas are passed over: their readers refuse them with advice.

    Raises:
        StoreError: If a value has another type than it must have; the run and the value are named.
    """
    try:
        if record["schema"] == 2:
            _check(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"run.json of run {record.get('key')} is damaged: {type(error).__name__} {error}") from error


def _check(record: Mapping[str, Any]) -> None:
    run = record["key"]

    def need(what: str, value: Any, right: bool, expected: str) -> None:
        if not right:
            raise StoreError(f"run.json of run {run} is damaged: {what} must be {expected}, got {value!r}")

    need("status", record["status"], record["status"] in _STATUSES, f"one of {list(_STATUSES)}")
    need("seconds", record["seconds"], _is(float, record["seconds"]), "a number")
    for name in ("diverged_epoch", "reason", "parent"):
        kind = int if name == "diverged_epoch" else str
        value = record[name]
        need(name, value, value is None or _is(kind, value), f"null or of type {kind.__name__}")
    for name, value in record["config"].items():
        if name in _FIELDS:
            need(name, value, _is(_FIELDS[name], value), f"of type {_FIELDS[name].__name__}")
    for name, value in record["config"]["task"].items():
        need(f"task.{name}", value, _is_plain(value), "a finite number of at most 63 bits, a text or a list of such")
    need("task.name", record["config"]["task"]["name"], _is(str, record["config"]["task"]["name"]), "of type str")
    for name, value in record["summary"].items():
        need(f"summary.{name}", value, _is_plain(value) and not isinstance(value, dict | list), "a number or a text")
    for name, value in record["looks"].items():
        texts = isinstance(value, list) and all(isinstance(part, str) for part in value)
        need(f"looks.{name}", value, texts, "a list of schedules")
    for column in record["columns"]:
        named = isinstance(column.get("name"), str) and isinstance(column.get("meaning"), str)
        need("columns", column, named, "mappings with a name and a meaning")
    for name, value in record["problems"].items():
        need(f"problems.{name}", value, _is(str, value), "of type str")
    need("versions", record["versions"], isinstance(record["versions"], Mapping), "a mapping")


def _is(kind: type, value: Any) -> bool:
    if kind is bool or kind is str:
        return isinstance(value, kind)
    if isinstance(value, bool):
        return False
    if kind is int:
        return isinstance(value, int) and abs(value) <= LARGEST
    return isinstance(value, int | float) and math.isfinite(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, bool | str) or _is(int if isinstance(value, int) else float, value)

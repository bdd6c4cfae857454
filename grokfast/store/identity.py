"""A run's identity: what was trained, in one spelling of every value, and the hash that names it.

Pure JSON: the training's own classes make the values (:meth:`grokfast.training.RunConfig.training`), and records of
earlier schemas are given the same names by :mod:`grokfast.store.schema1`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import numbers
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from grokfast.errors import ConfigError

SCHEMA = 2
"""Version of what a run's record says and of how its key is made."""

LARGEST = 2**63 - 1
"""Integers beyond it fit no column of a table."""

_ONLY_FOR = {"momentum": ("sgd",), "beta1": ("adam", "adamw"), "beta2": ("adam", "adamw"), "eps": ("adam", "adamw")}


def plain(name: str, value: Any) -> Any:
    """A value as JSON has it: enums, paths, tuples and numbers of other libraries in their plain form.

    Args:
        name: Of the field, for the message.
        value: What it was set to.

    Raises:
        ConfigError: If it has no such form: an object, a number that is not finite or an integer beyond 63 bits.
    """
    if isinstance(value, Enum):
        return plain(name, value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(f"{name}.{key}", inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(name, inner) for inner in value]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return plain(name, value.item())
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, numbers.Integral):
        if abs(int(value)) > LARGEST:
            raise ConfigError(f"{name} must be an integer of at most 63 bits, got {value!r}")
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value) + 0.0
    raise ConfigError(f"{name} must be a finite number, a text, a truth value or a list of such, got {value!r}")


def declared_defaults(cls: Any) -> dict[str, Any]:
    """Declared defaults of the fields of a task's class, as JSON values."""
    found = {}
    for declared in dataclasses.fields(cls):
        if declared.default is not dataclasses.MISSING:
            found[declared.name] = plain(declared.name, declared.default)
        elif declared.default_factory is not dataclasses.MISSING:
            found[declared.name] = plain(declared.name, declared.default_factory())
    return found


def canonical(value: Any) -> Any:
    """JSON values with one spelling of each number: 1 for 1.0, 0 for -0.0."""
    if isinstance(value, Mapping):
        return {key: canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def identity(
    training: Mapping[str, Any], *, defaults: Mapping[str, Any], unkeyed: Collection[str] = ()
) -> dict[str, Any]:
    """The part of a training's values that its key is made of.

    Left out are fields that the optimiser does not read, the task's fields at their declared default (so that a task
    may gain fields and stored keys stay), and those that say where data lie and not what they are.

    Args:
        training: All values, ``task`` among them as a mapping.
        defaults: Declared defaults of the task's fields.
        unkeyed: Names of the task's fields that are no part of it.
    """
    values = {
        name: canonical(value)
        for name, value in training.items()
        if training["optimizer"] in _ONLY_FOR.get(name, (training["optimizer"],))
    }
    usual = canonical(defaults)
    values["task"] = {
        name: value
        for name, value in values["task"].items()
        if name not in unkeyed and not (name in usual and _same(usual[name], value))
    }
    return values


def key_of(identity: Mapping[str, Any]) -> str:
    """Name of a run in the store."""
    return _hash({"schema": SCHEMA, **identity})


def family_of(identity: Mapping[str, Any]) -> str:
    """What a run shares with those that differ from it in their number of epochs alone."""
    return _hash({name: value for name, value in identity.items() if name != "epochs"})


def difference(stored: Mapping[str, Any], asked: Mapping[str, Any], unkeyed: Collection[str] = ()) -> str | None:
    """Where two trainings of one key differ, in words; None if nowhere.

    They can only where a default has changed since one of them was stored: fields at their default are not keyed.
    """
    pairs = [(name, stored.get(name), asked[name]) for name in asked if name != "task" and name in stored]
    ours, theirs = asked["task"], stored["task"]
    pairs += [(f"task.{name}", theirs[name], ours[name]) for name in ours if name in theirs and name not in unkeyed]
    for name, before, now in pairs:
        if asked["optimizer"] in _ONLY_FOR.get(name, (asked["optimizer"],)) and not _same(
            canonical(before), canonical(now)
        ):
            return f"{name} is {before!r} in the stored run and {now!r} now"
    return None


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _hash(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

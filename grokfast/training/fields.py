"""One checked type for each field of a configuration."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from enum import StrEnum
from typing import Any

import numpy as np

from grokfast._checks import parse_choice
from grokfast.errors import ConfigError
from grokfast.store.identity import LARGEST, plain

FULL = "full"
"""The batch size that is all training samples."""

_INTRODUCED = "introduced with"

Check = Callable[[str, Any], Any]
"""Takes a field's name and what it was set to; returns the value in the field's type, or raises ConfigError."""


def added(default: Any) -> Any:
    """A field of the training that earlier versions lacked; ``default`` is what stored runs without it have."""
    return field(default=default, metadata={_INTRODUCED: default})


def introduced_fields(cls: Any) -> dict[str, Any]:
    """Fields of a configuration that earlier versions lacked, with what their runs were trained with, as JSON."""
    found = {each.name: each.metadata for each in fields(cls) if _INTRODUCED in each.metadata}
    return {name: plain(name, metadata[_INTRODUCED]) for name, metadata in found.items()}


def check_of(annotation: str, choices: Mapping[str, type[StrEnum]]) -> Check:
    """The check of a field's annotation.

    Args:
        annotation: As it is written in the class.
        choices: Enums by name.
    """
    if annotation in choices:
        options = choices[annotation]
        return lambda name, value: parse_choice(name, value, options, error=ConfigError)
    return _CHECKS[annotation]


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be of type float, got {value!r}")
    try:
        return float(value) + 0.0
    except OverflowError:
        raise ConfigError(f"{name} must be a finite number, got {value!r}") from None


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} must be of type int, got {value!r}")
    if int(value) > LARGEST:
        raise ConfigError(f"{name} must be an integer of at most 63 bits, got {value!r}")
    return int(value)


def _integer_or_full(name: str, value: Any) -> int | str:
    if isinstance(value, str):
        if value != FULL:
            raise ConfigError(f"{name} must be a number of samples or {FULL!r}, got {value!r}")
        return FULL
    return _integer(name, value)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} must be of type bool, got {value!r}")
    return bool(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be of type str, got {value!r}")
    return str(value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
        raise ConfigError(f"{name} must be a list of texts, got {value!r}")
    return tuple(map(str, value))


_CHECKS: dict[str, Check] = {
    "float": _number,
    "int": _integer,
    "int | Literal['full']": _integer_or_full,
    "bool": _truth,
    "str": _text,
    "tuple[str, ...]": _texts,
}

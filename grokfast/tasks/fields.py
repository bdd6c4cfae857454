"""One checked type for each field of a task and of a run's configuration, and one spelling of each value."""

from __future__ import annotations

import dataclasses
import numbers
import sys
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from functools import cache, partial
from typing import Any

import numpy as np

from grokfast._checks import parse_choice
from grokfast.errors import ConfigError
from grokfast.store.identity import LARGEST

Check = Callable[[str, Any], Any]
"""Takes a field's name and what it was set to; returns the value in the field's type, or raises ConfigError."""


def take_types(values: Any) -> None:
    """Set every field of a frozen dataclass to its value in the type that the field is annotated with.

    Looked at are numbers, truths, texts, tuples of numbers or texts, and enums of texts; other fields stay as they are.

    Args:
        values: The object, in its ``__post_init__``.

    Raises:
        ConfigError: If a value has another type; the message names the field.
    """
    cls: Any = type(values)
    for name, check in _checks(cls).items():
        object.__setattr__(values, name, check(name, getattr(values, name)))


@cache
def _checks(cls: type[Any]) -> dict[str, Check]:
    try:
        hints = typing.get_type_hints(cls)
    except NameError:  # a class inside a function, whose annotations name what only that function sees
        return {}
    found = {field.name: check_of(hints[field.name]) for field in dataclasses.fields(cls)}
    return {name: check for name, check in found.items() if check is not None}


def check_of(hint: Any) -> Check | None:
    """The check of an annotation; None for types that are not looked at."""
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return lambda name, value: parse_choice(name, value, hint, error=ConfigError)
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (...,):
        (kind, _) = typing.get_args(hint)
        return partial(_several, _CHECKS[kind], _WORDS[kind]) if kind in _CHECKS else None
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        words = [word for one in typing.get_args(hint) for word in typing.get_args(one)]
        kinds = [one for one in typing.get_args(hint) if one in _CHECKS]
        if len(kinds) == 1 and all(isinstance(word, str) for word in words) and words:
            return partial(_or_word, _CHECKS[kinds[0]], words)
        return None
    return _CHECKS.get(hint)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be of type float, got {value!r}")
    try:
        found = float(value) + 0.0
    except OverflowError:
        raise ConfigError(f"{name} must be a finite number, got {value!r}") from None
    if 0.0 < abs(found) < sys.float_info.min:  # training flushes such numbers to 0
        raise ConfigError(f"{name} must be 0 or of size {sys.float_info.min:.3g} or more, got {value!r}")
    return found


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} must be of type int, got {value!r}")
    if not -LARGEST <= int(value) <= LARGEST:
        raise ConfigError(f"{name} must be an integer of at most 63 bits, got {value!r}")
    return int(value)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} must be of type bool, true or false, got {value!r}")
    return bool(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be of type str, got {value!r}")
    return str(value)


def _or_word(check: Check, words: list[str], name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return check(name, value)
    if value not in words:
        raise ConfigError(f"{name} must be a number or {' or '.join(map(repr, words))}, got {value!r}")
    return value


def _several(check: Check, words: str, name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{name} must be a list of {words}, got {value!r}")
    return tuple(check(f"each of {name}", entry) for entry in value)


_CHECKS: dict[Any, Check] = {float: _number, int: _integer, bool: _truth, str: _text}
_WORDS = {float: "numbers", int: "integers", bool: "truths", str: "texts"}

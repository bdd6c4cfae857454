"""Validation helpers for the public edge: each error says what was expected and what came."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeGuard, TypeVar

from grokfast.errors import InputError

_E = TypeVar("_E", bound=StrEnum)


def nearest(name: str, options: Iterable[str]) -> str:
    """A hint ``; did you mean 'x'?`` for a mistyped name, or an empty string."""
    close = difflib.get_close_matches(name, list(options), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def check_positive(name: str, value: object, *, error: type[InputError] = InputError) -> None:
    """Raise unless ``value`` is a finite number greater than zero."""
    if not _is_real(value) or not value > 0:
        raise error(f"{name} must be a finite number > 0, got {value!r}")


def check_non_negative(name: str, value: object, *, error: type[InputError] = InputError) -> None:
    """Raise unless ``value`` is a finite number of at least zero."""
    if not _is_real(value) or not value >= 0:
        raise error(f"{name} must be a finite number >= 0, got {value!r}")


def check_fraction(name: str, value: object, *, closed: bool = False, error: type[InputError] = InputError) -> None:
    """Raise unless ``value`` lies in (0, 1), or in [0, 1] if ``closed``."""
    inside = _is_real(value) and (0 <= value <= 1 if closed else 0 < value < 1)
    if not inside:
        interval = "[0, 1]" if closed else "(0, 1)"
        raise error(f"{name} must lie in {interval}, got {value!r}")


def check_at_least(name: str, value: object, minimum: int, *, error: type[InputError] = InputError) -> None:
    """Raise unless ``value`` is an integer of at least ``minimum`` that counters of 63 bits can reach."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise error(f"{name} must be an integer >= {minimum}, got {value!r}")
    if int(value) >> 63:
        raise error(f"{name} must be an integer below 2^63, got {str(value)[:40]}")


def parse_choice(name: str, value: str | _E, choices: type[_E], *, error: type[InputError] = InputError) -> _E:
    """The member of the enum ``choices`` that ``value`` names, or an error that lists them all."""
    try:
        return choices(value)
    except ValueError:
        options = [member.value for member in choices]
        hint = nearest(str(value), options)
        raise error(f"{name} must be one of {options}, got {value!r}{hint}") from None


def _is_real(value: object) -> TypeGuard[float]:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)

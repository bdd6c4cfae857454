"""Options made from dataclasses: one for each field, with the help of the class's docstring."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

import docstring_parser
import tyro

from grokfast.errors import ConfigError


def helps(cls: type) -> dict[str, str]:
    """What the docstrings of a class and of those it inherits from say of each argument."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for parameter in docstring_parser.parse(base.__doc__ or "").params:
            found[parameter.arg_name] = " ".join((parameter.description or "").replace("``", "").split())
    return found


def option_fields(cls: type, leave_out: Sequence[str] = (), given: Mapping[str, Any] | None = None) -> list[Any]:
    """The fields of a dataclass as fields of a class of options, for ``dataclasses.make_dataclass``.

    An option that is not given is None, so that the class's own default stands; its help names that default.

    Args:
        cls: A dataclass.
        leave_out: Fields that get no option.
        given: Defaults to name in the help where the class's is decided later.

    Returns:
        ``(name, type, field)`` for each field.
    """
    hints, texts, told = typing.get_type_hints(cls), helps(cls), dict(given or {})
    fields = []
    for field in dataclasses.fields(cls):
        if field.name in leave_out or not field.init:
            continue
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.name not in told and not required:
            factory: Any = field.default_factory
            told[field.name] = factory() if field.default is dataclasses.MISSING else field.default
        hint, metavar = _plain(hints[field.name])
        told_default = f"(default: {_shown(told[field.name])})" if field.name in told else "(required)"
        argument = tyro.conf.arg(help=texts.get(field.name), metavar=metavar, help_behavior_hint=told_default)
        if required:
            fields.append((field.name, Annotated[hint, argument], dataclasses.field()))
        else:
            fields.append((field.name, Annotated[hint | None, argument], dataclasses.field(default=None)))
    return sorted(fields, key=lambda entry: entry[2].default is None)


def chosen(options: Any, cls: type) -> dict[str, Any]:
    """The fields of ``cls`` that were given among the options."""
    names = {field.name for field in dataclasses.fields(cls)} & {field.name for field in dataclasses.fields(options)}
    return {name: getattr(options, name) for name in sorted(names) if getattr(options, name) is not None}


def check_apart(task: type, taken: Sequence[str]) -> None:
    """Raise if a field of a task has the name of an option that all tasks have."""
    both = sorted({field.name for field in dataclasses.fields(task)} & set(taken))
    if both:
        raise ConfigError(f"{task.__name__} has a field {both[0]!r}, which is an option of `grokfast train`: rename it")


def _plain(hint: Any) -> tuple[Any, str]:
    """Enumerations are taken as text, so that a wrong choice is answered by the class that knows them."""
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return str, "{" + ",".join(member.value for member in hint) + "}"
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and inner[-1:] == (Ellipsis,):
        plain, metavar = _plain(inner[0])
        return tuple[plain, ...], f"[{metavar} ...]"  # type: ignore[valid-type]
    words = [text for part in inner if typing.get_origin(part) is Literal for text in typing.get_args(part)]
    if words:  # a number or one of a few words
        numbers = [_plain(part)[1] for part in inner if typing.get_origin(part) is not Literal]
        return hint, "{" + ",".join([*numbers, *words]) + "}"
    names = {bool: "{True,False}", str: "TEXT"}
    return hint, names.get(hint, getattr(hint, "__name__", str(hint)).upper())


def _shown(value: Any) -> str:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return " ".join(map(_shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value == "" or value is None else str(value)

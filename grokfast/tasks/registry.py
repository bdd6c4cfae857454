"""Which tasks there are: those of this package, of installed packages, and of files of one's own."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from grokfast._checks import nearest
from grokfast._registry import References, Registry, place_of
from grokfast.errors import ConfigError, MissingTaskError
from grokfast.tasks.base import Task
from grokfast.tasks.reserved import is_reserved

ENTRY_POINTS = "grokfast.tasks"
"""The entry point group in which an installed package names its tasks."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PARTS = ("module", "split", "initial", "encode", "logits", "losses", "gradients", "features", "defaults")

_T = TypeVar("_T", bound=type[Any])


_REGISTRY: Registry[str, type[Task]] = Registry("task", place=place_of)

TASKS: Mapping[str, type[Task]] = _REGISTRY
"""The registered tasks by name."""


def register_task(cls: _T) -> _T:
    """Class decorator: let a task be asked for by its name.

    The decorator stands above ``@dataclass(frozen=True)``::

        @register_task
        @dataclass(frozen=True)
        class ModularProduct(NetworkTask):
            name: ClassVar[str] = "modular-product"

    Args:
        cls: A frozen dataclass with the parts of :class:`Task`; :class:`NetworkTask` has most of them.

    Returns:
        The same class.

    Raises:
        ConfigError: If it is no such class, has no name of its own, or a field is called like a setting or a result
            of every run.
    """
    _check(cls)
    _REGISTRY.add(cls.name, cls)
    return cls


def find_task(reference: str) -> type[Task]:
    """The task that a name means.

    Args:
        reference: A registered name, that of an entry point of an installed package (group ``grokfast.tasks``), or
            ``module:Class`` on the import path.

    Returns:
        The class.

    Raises:
        MissingTaskError: If there is no such task; the message says what is missing.
        ConfigError: If what the name means is no task.
    """
    found = _REFERENCES.find(reference)
    if ":" not in reference and found.name != reference:
        raise ConfigError(f"the entry point {reference!r} of an installed package gives the task {found.name!r}")
    return found


def reference_of(cls: type[Task]) -> str:
    """What :func:`find_task` finds a class by in another process.

    Args:
        cls: A task.

    Returns:
        Its name, for a task of this package or of an installed one that has an entry point; else ``module:Class``.
        A class of the script that runs is named after the script's file.

    Raises:
        ConfigError: If no other process could import it.
    """
    if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return cls.name
    if _REFERENCES.entries().get(cls.name) == place_of(cls):
        return cls.name
    if "<locals>" in cls.__qualname__:
        raise ConfigError(
            f"task {cls.name} is defined inside a function ({place_of(cls)}), where no other process finds it: move "
            "the class to the top of its file"
        )
    return place_of(cls)


def task_to_dict(task: Task) -> dict[str, Any]:
    """The task's fields by name, after ``name``: what :func:`find_task` takes.

    Args:
        task: A task.

    Returns:
        Values as the fields hold them.

    Raises:
        ConfigError: If no other process could import its class.
    """
    fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(typing.cast("Any", task))}
    return {"name": reference_of(type(task)), **fields}


def task_from_dict(values: Mapping[str, Any]) -> Task:
    """The task that :func:`task_to_dict` wrote, from JSON or TOML values.

    Args:
        values: ``name`` and any of the task's fields; those left out have their defaults.

    Returns:
        The task.

    Raises:
        MissingTaskError: If there is no such task.
        ConfigError: If a field does not exist (the nearest one is named) or has a value out of range.
    """
    if not isinstance(values, Mapping) or "name" not in values:
        raise ConfigError(f"task must be a mapping with its name and fields, got {values!r}")
    given = dict(values)
    name = given.pop("name")
    if not isinstance(name, str):
        raise ConfigError(f"the name of a task must be a text, got {name!r}")
    cls: Any = find_task(name)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for name in given:
        if name not in fields:
            raise ConfigError(f"task {cls.name} has no field {name!r}{nearest(name, fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise ConfigError(f"task {cls.name} needs a value for {name}")
    hints = typing.get_type_hints(cls)
    return typing.cast("Task", cls(**{name: _coerced(name, value, hints[name]) for name, value in given.items()}))


def _check(found: Any) -> None:
    if not isinstance(found, type):
        raise ConfigError(f"expected a class that is a task, got {found!r}")
    cls: Any = found
    missing = [part for part in _PARTS if not hasattr(cls, part)]
    if missing:
        raise ConfigError(f"{place_of(cls)} is no task: it has no {', '.join(missing)}; derive it from NetworkTask")
    if "name" not in vars(cls):
        inherited = getattr(cls, "name", None)
        hint = f"; it inherits {inherited!r}, which is another task's" if isinstance(inherited, str) else ""
        raise ConfigError(f'{place_of(cls)} must have a name of its own, such as name: ClassVar[str] = "my-task"{hint}')
    if not isinstance(cls.name, str) or not _NAME.fullmatch(cls.name):
        raise ConfigError(f"a task's name must be lower-case letters, digits and single hyphens, got {cls.name!r}")
    if not _is_frozen_dataclass(cls):
        raise ConfigError(f"{place_of(cls)} must be decorated with @dataclass(frozen=True), below @register_task")
    names = [field.name for field in dataclasses.fields(cls)]
    for k, name in enumerate(names):
        if is_reserved(name):
            raise ConfigError(
                f"task {cls.name} has a field {name!r}, which every run has a setting or a result of: call it otherwise"
            )
        twin = next((other for other in names[:k] if other.casefold() == name.casefold()), None)
        if twin is not None:
            raise ConfigError(f"task {cls.name} has fields {twin!r} and {name!r}, which differ in case alone")


def _is_frozen_dataclass(cls: type[Any]) -> bool:
    """Whether the class itself is one: a class that merely inherits from one has fields that are none."""
    parameters = vars(cls).get("__dataclass_params__")
    return parameters is not None and bool(parameters.frozen)


def _found(found: Any, reference: str) -> type[Task]:
    try:
        _check(found)
    except ConfigError as error:
        raise ConfigError(f"task {reference!r}: {error}") from error
    return typing.cast("type[Task]", found)


_REFERENCES = References(_REGISTRY, "task", ENTRY_POINTS, _found, missing=MissingTaskError)


def _coerced(name: str, value: Any, hint: Any) -> Any:
    """JSON and TOML know no tuples and write 1 for 1.0; everything else must have its type already."""
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, bool, str, float) and not (isinstance(value, hint) and isinstance(value, bool) == (hint is bool)):
        raise ConfigError(f"{name} must be of type {hint.__name__}, got {value!r}")
    return value

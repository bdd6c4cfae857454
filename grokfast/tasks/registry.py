"""Which tasks there are: those of this package, of installed packages, and of files of one's own."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from grokfast._checks import nearest
from grokfast.errors import ConfigError, MissingTaskError
from grokfast.tasks.base import Task
from grokfast.tasks.reserved import is_reserved

ENTRY_POINTS = "grokfast.tasks"
"""The entry point group in which an installed package names its tasks."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MAIN = ("__main__", "__mp_main__")
_PARTS = ("module", "split", "initial", "encode", "logits", "losses", "gradients", "features", "defaults")

_T = TypeVar("_T", bound=type[Any])


class _Registry(Mapping[str, type[Task]]):
    def __init__(self) -> None:
        self._found: dict[str, type[Task]] = {}

    def __getitem__(self, name: str) -> type[Task]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, cls: type[Task]) -> None:
        other = self._found.get(cls.name)
        if other is not None and _written(other) != _written(cls):
            raise ConfigError(f"there is a task {cls.name!r} already, {_written(other)}: give yours another name")
        self._found[cls.name] = cls


_REGISTRY = _Registry()

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
    _REGISTRY.add(cls)
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
    if reference in TASKS:
        return TASKS[reference]
    module, colon, attribute = str(reference).partition(":")
    if colon:
        return _imported(module, attribute, reference)
    entries = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINTS)}
    if reference not in entries:
        known = sorted({*TASKS, *entries})
        raise MissingTaskError(
            f"task must be one of {known}, or module:Class for one of your own, got {reference!r}"
            f"{nearest(str(reference), known)}"
        )
    found = _imported(entries[reference].module, entries[reference].attr, reference)
    if found.name != reference:
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
    entries = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINTS)}
    if cls.name in entries and f"{entries[cls.name].module}:{entries[cls.name].attr}" == _written(cls):
        return cls.name
    if "<locals>" in cls.__qualname__:
        raise ConfigError(
            f"task {cls.name} is defined inside a function ({_written(cls)}), where no other process finds it: move "
            "the class to the top of its file"
        )
    return _written(cls)


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
        raise ConfigError(f"{_written(cls)} is no task: it has no {', '.join(missing)}; derive it from NetworkTask")
    if "name" not in vars(cls):
        inherited = getattr(cls, "name", None)
        hint = f"; it inherits {inherited!r}, which is another task's" if isinstance(inherited, str) else ""
        raise ConfigError(f'{_written(cls)} must have a name of its own, such as name: ClassVar[str] = "my-task"{hint}')
    if not isinstance(cls.name, str) or not _NAME.fullmatch(cls.name):
        raise ConfigError(f"a task's name must be lower-case letters, digits and single hyphens, got {cls.name!r}")
    if not _is_frozen_dataclass(cls):
        raise ConfigError(f"{_written(cls)} must be decorated with @dataclass(frozen=True), below @register_task")
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


def _written(cls: type[Any]) -> str:
    return f"{_module_of(cls.__module__)}:{cls.__qualname__}"


def _module_of(name: str) -> str:
    if name not in _MAIN:
        return name
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else name


def _imported(module: str, attribute: str, reference: str) -> type[Task]:
    found: Any = _module(module, attribute, reference)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise MissingTaskError(f"task {reference!r}: {module} has no {attribute!r}{nearest(part, dir(found))}")
        found = getattr(found, part)
    try:
        _check(found)
    except ConfigError as error:
        raise ConfigError(f"task {reference!r}: {error}") from error
    return typing.cast("type[Task]", found)


def _module(name: str, attribute: str, reference: str) -> types.ModuleType:
    main = sys.modules["__main__"]
    # The script that runs is not run a second time as a module.
    if name == _module_of("__main__") and hasattr(main, attribute.partition(".")[0]):
        return main
    if name in _MAIN:
        raise MissingTaskError(
            f"task {reference!r} was defined in an interactive session, which has ended: put the class into a file"
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise MissingTaskError(f"task {reference!r}: module {name} needs {error.name}, which is missing") from error
        raise MissingTaskError(
            f"task {reference!r}: there is no module {error.name} on the import path; call from the folder that holds "
            f"{error.name}.py, add that folder to PYTHONPATH, or install the package"
        ) from error
    except Exception as error:
        raise MissingTaskError(
            f"task {reference!r}: module {name} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _coerced(name: str, value: Any, hint: Any) -> Any:
    """JSON and TOML know no tuples and write 1 for 1.0; everything else must have its type already."""
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, bool, str, float) and not (isinstance(value, hint) and isinstance(value, bool) == (hint is bool)):
        raise ConfigError(f"{name} must be of type {hint.__name__}, got {value!r}")
    return value

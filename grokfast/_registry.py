"""Named things that a package, an installed one or a file of one's own may add: tasks, measures, figures and more."""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from grokfast._checks import nearest
from grokfast.errors import ConfigError, InputError

_K = TypeVar("_K", str, int)
_T = TypeVar("_T")

_MODULE = re.compile(r"[^\s./\\]+(\.[^\s./\\]+)*")
_MAIN = ("__main__", "__mp_main__")


class Registry(Mapping[_K, _T], Generic[_K, _T]):
    """What was registered of one kind, by name; read only but for :meth:`add`.

    Args:
        kind: What it holds, in one word: ``"measure"``.
        place: Where a thing was written, ``module:name``. A file that is imported twice registers the same things
            again; others that take a name which is taken are refused.
        order: Sorts the names; without it they stand as they were registered.
    """

    def __init__(self, kind: str, place: Callable[[_T], str], *, order: Callable[[_K], Any] | None = None) -> None:
        self._kind, self._place = kind, place
        self._order: Callable[[_K], Any] | None = order
        self._found: dict[_K, _T] = {}

    def __getitem__(self, name: _K) -> _T:
        return self._found[name]

    def __iter__(self) -> Iterator[_K]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, name: _K, found: _T) -> None:
        """Register it.

        Raises:
            ConfigError: If another thing has the name, also by case.
        """
        twin = {_folded(other): other for other in self._found}.get(_folded(name))
        if twin is not None:
            there = self._place(self._found[twin])
            if twin != name or there != self._place(found):
                raise ConfigError(f"there is a {self._kind} {twin!r} already, {there}: give yours another name")
        self._found[name] = found
        if self._order is not None:
            self._found = {key: self._found[key] for key in sorted(self._found, key=self._order)}


class References(Generic[_T]):
    """Finds a thing by a reference: a registered name, that of an entry point, or ``module:attribute``.

    Args:
        registry: Those that are registered.
        kind: As in :class:`Registry`.
        group: The entry point group in which an installed package names its own.
        check: Raises ConfigError unless what was imported is one; takes it and its reference.
        missing: Raised if there is none.
    """

    def __init__(
        self,
        registry: Registry[str, _T],
        kind: str,
        group: str,
        check: Callable[[Any, str], _T],
        missing: type[InputError] = ConfigError,
    ) -> None:
        self._registry, self._kind, self._group = registry, kind, group
        self._check, self._missing = check, missing

    def entries(self) -> dict[str, str]:
        """``module:attribute`` by the name of each entry point of the group."""
        return {entry.name: f"{entry.module}:{entry.attr}" for entry in metadata.entry_points(group=self._group)}

    def find(self, reference: str) -> _T:
        """What the reference means."""
        if reference in self._registry:
            return self._registry[reference]
        target = reference = str(reference)
        if ":" not in reference:
            entries = self.entries()
            if reference not in entries:
                known = [*self._registry, *(name for name in entries if name not in self._registry)]
                raise self._missing(
                    f"{self._kind} must be one of {', '.join(known)}, or module:attribute for one of your own, got "
                    f"{reference!r}{nearest(reference, known)}"
                )
            target = entries[reference]
        return self._check(self._imported(target, reference), reference)

    def _imported(self, target: str, reference: str) -> Any:
        module, _, attribute = target.partition(":")
        if not (_MODULE.fullmatch(module) and all(map(str.isidentifier, attribute.split(".")))):
            raise self._missing(
                f"{self._kind} {reference!r}: expected module:attribute, such as my_file:Name of my_file.py"
            )
        found: Any = self._module(module, attribute, reference)
        for part in attribute.split("."):
            if not hasattr(found, part):
                hint = nearest(part, dir(found))
                raise self._missing(f"{self._kind} {reference!r}: {module} has no {attribute!r}{hint}")
            found = getattr(found, part)
        return found

    def _module(self, name: str, attribute: str, reference: str) -> types.ModuleType:
        main, said = sys.modules["__main__"], f"{self._kind} {reference!r}: "
        # The script that runs is not run a second time as a module.
        if name == module_name("__main__") and hasattr(main, attribute.partition(".")[0]):
            return main
        if name in _MAIN:
            raise self._missing(f"{said}it was defined in an interactive session, which has ended: put it into a file")
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise self._missing(f"{said}module {name} needs {error.name}, which is missing") from error
            raise self._missing(
                f"{said}there is no module {error.name} on the import path; call from the folder that holds "
                f"{error.name}.py, add that folder to PYTHONPATH, or install the package"
            ) from error
        except (Exception, SystemExit) as error:  # a script that ends itself ends its import alone
            raise self._missing(f"{said}module {name} cannot be imported: {type(error).__name__}: {error}") from error


def place_of(found: Any) -> str:
    """Where a class or function was written: ``module:name``; the script that runs goes by its file."""
    return f"{module_name(getattr(found, '__module__', ''))}:{getattr(found, '__qualname__', repr(found))}"


def module_name(name: str) -> str:
    """A module's name as another process imports it: the script that runs goes by its file."""
    if name not in _MAIN:
        return name
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else name


def _folded(name: str | int) -> str | int:
    return name.casefold() if isinstance(name, str) else name

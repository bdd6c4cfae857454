"""Which measures there are: those of this package, of installed ones, and of files of one's own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from grokfast._checks import nearest
from grokfast.errors import ConfigError
from grokfast.observe.protocol import Measure, Observer, checked_name

ENTRY_POINTS = "grokfast.measures"
"""The entry point group in which an installed package names its measures."""


class _Registry(Mapping[str, Measure]):
    def __init__(self) -> None:
        self._found: dict[str, Measure] = {}

    def __getitem__(self, name: str) -> Measure:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, measure: Measure) -> None:
        twin = {name.lower(): name for name in self._found}.get(measure.name.lower())
        if twin is not None and self._found[twin] is not measure:
            raise ConfigError(f"there is a measure {twin!r} already: give yours another name")
        self._found[measure.name] = measure


_REGISTRY = _Registry()

MEASURES: Mapping[str, Measure] = _REGISTRY
"""The registered measures by name."""


def register_measure(measure: Measure) -> Measure:
    """Let a measure be asked for by its name.

    Args:
        measure: What :func:`grokfast.observe.measure` made, or any object of the protocol.

    Returns:
        The same.

    Raises:
        ConfigError: If it is no measure, or another has its name, also by case.
    """
    _REGISTRY.add(_checked(measure, repr(measure)))
    return measure


def find_measure(reference: str) -> Measure:
    """The measure that a name means.

    Args:
        reference: A registered name, that of an entry point of an installed package, or ``module:attribute`` on the
            import path.

    Raises:
        ConfigError: If there is no such measure; the message says what is missing.
    """
    if reference in MEASURES:
        return MEASURES[reference]
    if ":" in reference:
        module, _, attribute = reference.partition(":")
        return _checked(_imported(module, attribute, reference), reference)
    entries = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINTS)}
    if reference in entries:
        entry = entries[reference]
        return _checked(_imported(entry.module, entry.attr, reference), reference)
    known = [*MEASURES, *entries]
    raise ConfigError(
        f"measure must be one of {sorted(known)} or module:attribute, got {reference!r}{nearest(reference, known)}"
    )


def observer_of(text: str) -> Observer:
    """The observer that ``"reference@schedule"`` asks for; without a schedule, at the end.

    Raises:
        ConfigError: If there is no such measure.
    """
    reference, _, schedule = text.partition("@")
    return Observer(find_measure(reference), schedule or "last")


def _imported(module: str, attribute: str, reference: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise ConfigError(
            f"measure {reference!r}: module {module} cannot be imported ({type(error).__name__}: {error}); "
            "it must lie in the folder the command is called in, or be installed"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"measure {reference!r}: {module} has no {attribute!r}{nearest(part, dir(found))}")
        found = getattr(found, part)
    return found


def _checked(found: Any, reference: str) -> Measure:
    if isinstance(found, type):
        raise ConfigError(f"{reference} is a class; a measure is an object: register {found.__name__}(...)")
    if isinstance(found, Measure):
        checked_name(found.name)
        return found
    if callable(found):
        raise ConfigError(
            f"{reference} is a plain function without declared columns: decorate it with "
            "@grokfast.observe.measure(columns=[grokfast.Column(name, meaning)])"
        )
    raise ConfigError(
        f"{reference} is no measure: expected what @grokfast.observe.measure makes, got {type(found).__name__}"
    )

"""Which measures there are: those of this package, of installed ones, and of files of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokfast._registry import References, Registry, place_of
from grokfast.errors import ConfigError
from grokfast.observe.protocol import Measure, Observer, checked_name

ENTRY_POINTS = "grokfast.measures"
"""The entry point group in which an installed package names its measures."""


_REGISTRY: Registry[str, Measure] = Registry("measure", place=place_of)

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
    _REGISTRY.add(_checked(measure, repr(measure)).name, measure)
    return measure


def find_measure(reference: str) -> Measure:
    """The measure that a name means.

    Args:
        reference: A registered name, that of an entry point of an installed package, or ``module:attribute`` on the
            import path.

    Raises:
        ConfigError: If there is no such measure; the message says what is missing.
    """
    return _REFERENCES.find(reference)


def observer_of(text: str) -> Observer:
    """The observer that ``"reference@schedule"`` asks for; without a schedule, at the end.

    Raises:
        ConfigError: If there is no such measure.
    """
    reference, _, schedule = text.partition("@")
    return Observer(find_measure(reference), schedule or "last")


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


_REFERENCES = References(_REGISTRY, "measure", ENTRY_POINTS, _checked)

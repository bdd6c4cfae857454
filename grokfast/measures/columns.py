"""Columns: what a number in a run's history, summary or arrays is called, and what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from grokfast._checks import parse_choice
from grokfast.errors import ConfigError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Kind(StrEnum):
    """Where a column's values are found."""

    SCALAR = "scalar"
    """One number a look: a column of the history, and its last value in the summary."""
    END = "end"
    """One number a run, of the end model or of the whole history: in the summary alone."""
    ARRAY = "array"
    """An array of the end model, kept beside the run."""


@dataclass(frozen=True)
class Column:
    """One measured quantity.

    Args:
        name: Letters, digits and underscores, beginning with a letter; the name in tables, SQL and figures.
        meaning: One line that says what it is.
        unit: Such as ``"nat"`` or ``"epochs"``; empty for pure numbers.
        label: Short text for axes and headings; the name if empty.
        kind: Where its values are found.
        headline: Whether tables and general figures show it without being asked.

    Raises:
        ConfigError: If the name has another form, or the meaning is empty or longer than a line.
    """

    name: str
    meaning: str
    unit: str = ""
    label: str = ""
    kind: Kind = Kind.SCALAR
    headline: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"a column's name must be letters, digits and underscores and begin with a letter, got {self.name!r}"
            )
        if not isinstance(self.meaning, str) or not self.meaning.strip() or "\n" in self.meaning:
            raise ConfigError(f"the meaning of column {self.name} must be one line of text, got {self.meaning!r}")
        object.__setattr__(self, "kind", parse_choice("kind", self.kind, Kind, error=ConfigError))

    @property
    def heading(self) -> str:
        """The label, or the name where there is none."""
        return self.label or self.name

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "kind": str(self.kind)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Column:
        """The column that :meth:`to_dict` wrote; further entries are passed over."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})

"""Fields of a run's configuration that earlier versions lacked."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

from grokfast.store.identity import plain

FULL = "full"
"""The batch size that is all training samples."""

_INTRODUCED = "introduced with"


def added(default: Any) -> Any:
    """A field of the training that earlier versions lacked; ``default`` is what stored runs without it have."""
    return field(default=default, metadata={_INTRODUCED: default})


def introduced_fields(cls: Any) -> dict[str, Any]:
    """Fields of a configuration that earlier versions lacked, with what their runs were trained with, as JSON."""
    found = {each.name: each.metadata for each in fields(cls) if _INTRODUCED in each.metadata}
    return {name: plain(name, metadata[_INTRODUCED]) for name, metadata in found.items()}

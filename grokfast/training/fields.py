"""Fields of a run's configuration that earlier versions lacked."""

from __future__ import annotations

from dataclasses import field
from typing import Any

INTRODUCED = "introduced with"


def added(default: Any) -> Any:
    """A field of the training that earlier versions lacked; ``default`` is what stored runs without it have."""
    return field(default=default, metadata={INTRODUCED: default})

"""Measures of stored end models that were taken after training and are kept beside the runs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokfast.store import Store, derived_names, read_derived

KEPT_COLUMNS = "columns"
"""In a kept measure of an end model, the meaning of its columns, as JSON; no measure may be called so."""

_MEASURED = ("scalars", "measure-")  # names of entries with measures of end models; the first is an early version's


def kept_measures(store: Store, key: str, but: str = "") -> dict[str, float | None]:
    """Measures of a stored end model that have been taken and kept, by column; None where one is not finite.

    Args:
        store: The store.
        key: The run.
        but: Name of an entry that is left out.
    """
    found: dict[str, float | None] = {}
    for entry in kept_entries(store, key):
        if entry != but:
            scalars = read_derived(store, key, entry, None) or {}
            found |= {column: _finite(value) for column, value in scalars.items() if column != KEPT_COLUMNS}
    return found


def kept_columns(store: Store, key: str) -> list[dict[str, Any]]:
    """What the kept measures of a stored end model mean, column by column."""
    entries = [read_derived(store, key, entry, None) or {} for entry in kept_entries(store, key)]
    texts = [entry[KEPT_COLUMNS].tobytes() for entry in entries if KEPT_COLUMNS in entry]
    return [values for text in texts for values in json.loads(text)]


def kept_entries(store: Store, key: str) -> list[str]:
    """Names of the entries that hold measures of a stored end model."""
    return [entry for entry in derived_names(store, key) if entry.startswith(_MEASURED) and "@" not in entry]


def _finite(value: NDArray[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None

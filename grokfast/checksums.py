"""Checksums of files, JSON values and arrays: SHA-256, hexadecimal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sha256_of(file: Path) -> str:
    """Checksum of a file's bytes.

    Raises:
        OSError: If it cannot be read.
    """
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_of(values: Any) -> str:
    """Checksum of JSON values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Checksum of arrays: their names, types, shapes and values, whatever their order.

    Args:
        arrays: By name.
    """
    digest = hashlib.sha256()
    for label in sorted(arrays):
        values = np.ascontiguousarray(arrays[label])
        digest.update(f"{label}:{values.dtype.str}:{arrays[label].shape}".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()

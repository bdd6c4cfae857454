"""The saved form of a sampler: NumPy arrays by name, with the configuration as JSON in bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from grokfast.errors import InputError
from grokfast.ising.engine import Arrays

_VERSION = 2
_READ = (1, 2)  # version 1 has no order, seeding, rounds: those that it meant are filled in


def encode_config(config: dict[str, object]) -> npt.NDArray[np.uint8]:
    """The configuration and the version of this form as UTF-8 bytes, uint8 ``[n]``."""
    text = json.dumps({"version": _VERSION, **config}, sort_keys=True)
    return np.frombuffer(text.encode(), dtype=np.uint8)


def decode_config(arrays: Arrays) -> dict[str, Any]:
    """What :func:`encode_config` was given.

    Args:
        arrays: A saved state; its ``config`` is read.

    Returns:
        The configuration.

    Raises:
        InputError: If there is none, or it has another version.
    """
    try:
        config = json.loads(np.asarray(arrays["config"], dtype=np.uint8).tobytes())
        version = config["version"]
    except (KeyError, TypeError, ValueError):
        raise InputError("state must hold the arrays of IsingSampler.state(); 'config' is missing or damaged") from None
    if version not in _READ:
        raise InputError(f"state must have a version of {_READ}, got {version!r}")
    return dict(config)


def check_arrays(own: Arrays, given: Arrays) -> str | None:
    """Why ``given`` cannot be restored over ``own``, or None."""
    for name, array in own.items():
        other = given.get(name)
        if other is None:
            return f"array {name!r} is missing"
        if other.dtype != array.dtype or other.shape != array.shape:
            return f"{name!r} must be {array.dtype} {array.shape}, got {other.dtype} {other.shape}"
    return None

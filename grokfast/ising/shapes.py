"""Lattice shapes as the public functions take them."""

from __future__ import annotations

import numbers
from typing import TypeAlias

from grokfast.errors import InputError

Shape: TypeAlias = int | tuple[int, int]


def parse_shape(name: str, value: Shape) -> tuple[int, int]:
    """``L`` or ``(Ly, Lx)`` as ``(Ly, Lx)``.

    Args:
        name: What the caller calls it, for the message.
        value: One side, or rows and columns.

    Returns:
        Rows and columns, each at least 2.

    Raises:
        InputError: If it is not one or two integers of at least 2.
    """
    sides: list[object] = list(value) if isinstance(value, tuple | list) else [value, value]
    lengths = [
        int(side) for side in sides if not isinstance(side, bool) and isinstance(side, numbers.Integral)
    ]
    if len(sides) != 2 or len(lengths) != 2 or min(lengths) < 2:
        raise InputError(f"{name} must be an integer >= 2 or a pair (Ly, Lx) of them, got {value!r}")
    return lengths[0], lengths[1]

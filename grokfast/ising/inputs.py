"""Arguments as the public functions take them: shapes, temperatures, initial spins, seeds."""

from __future__ import annotations

import hashlib
import math
import numbers
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_positive, parse_choice
from grokfast.errors import InputError
from grokfast.ising.kinds import Start

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
    lengths = [int(side) for side in sides if not isinstance(side, bool) and isinstance(side, numbers.Integral)]
    if len(sides) != 2 or len(lengths) != 2 or min(lengths) < 2:
        raise InputError(f"{name} must be an integer >= 2 or a pair (Ly, Lx) of them, got {value!r}")
    return lengths[0], lengths[1]


def real_array(name: str, value: object) -> npt.NDArray[np.float64]:
    """Real numbers as a new float64 array.

    Args:
        name: What the caller calls it, for the message.
        value: Numbers in any nesting, an array, or a tensor without a gradient.

    Returns:
        A new array, of any shape.

    Raises:
        InputError: If it is anything else: complex, masked, booleans, text, rows of different lengths, or a tensor
            that carries a gradient, which would be lost.
    """
    if np.ma.isMaskedArray(value):
        raise InputError(f"{name} must be plain numbers, got a masked array; fill or drop what is masked")
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "iufO":
            raise TypeError
        return np.array(given, dtype=np.float64)
    except RuntimeError as error:
        raise InputError(f"{name} must be plain numbers, got {value!r}: {error}") from None
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number or real numbers, got {value!r}") from None


def parse_temperatures(temperatures: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """One or more temperatures as float64 ``[T]``.

    Args:
        temperatures: A number or ``[T]`` numbers >= 0; infinity is allowed.

    Returns:
        A new array.

    Raises:
        InputError: If it is anything else.
    """
    T = np.atleast_1d(real_array("temperatures", temperatures))
    if T.ndim != 1 or T.size == 0:
        raise InputError(f"temperatures must be a number or a non-empty list of them, got shape {T.shape}")
    if not (T >= 0).all():
        raise InputError(f"temperatures must be >= 0 (infinity is allowed), got {T[~(T >= 0)][0]}")
    return T + 0.0  # no -0.0


def check_temperature(temperature: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Temperatures > 0 for the exact functions, of any shape; infinity is allowed.

    Raises:
        InputError: If it is anything else.
    """
    T = real_array("temperature", temperature)
    if not (T > 0).all():
        raise InputError(f"temperature must be > 0 (infinity is allowed), got {temperature!r}")
    return T


def mixed_seed(seed: int, *parameters: object) -> int:
    """A seed that is another one for other parameters, by SHA-256: an integer of 128 bits."""
    text = repr((int(seed), *parameters))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


LARGEST_ENERGY = 1e60
"""Of J and h, and the least is 1 / LARGEST_ENERGY: errors are made of their fourth powers, which float64 holds."""


def check_energy(name: str, value: object, *, positive: bool = False) -> None:
    """Raise unless it is a coupling or a field: 0 or a number of reasonable size, greater than 0 if ``positive``.

    Raises:
        InputError: If it is anything else.
    """
    if positive:
        check_positive(name, value)
    if not is_finite(value):
        raise InputError(f"{name} must be a finite number, got {value!r}")
    if value != 0 and not 1.0 / LARGEST_ENERGY <= abs(float(value)) <= LARGEST_ENERGY:
        raise InputError(f"{name} must be {'' if positive else '0 or '}of size 1e-60 to 1e60, got {value!r}")


def is_finite(value: object) -> TypeGuard[float]:
    """Whether it is a finite real number."""
    if isinstance(value, bool):
        return False
    return isinstance(value, numbers.Real) and math.isfinite(value)


def stream_key(seed: int, stream: int) -> int:
    """A 64-bit key for one of the independent uses of a seed."""
    return int(np.random.SeedSequence(seed, spawn_key=(stream,)).generate_state(1, np.uint64)[0])


def philox(key: int, counter: int) -> np.random.Generator:
    """A counter-based generator: the same draws for the same key and counter, wherever a run was cut."""
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, counter]))


def first_spins(init: str | Start | npt.ArrayLike, shape: tuple[int, int, int, int], key: int) -> npt.NDArray[np.int8]:
    """The initial configuration.

    Args:
        init: A :class:`Start` by member or value, or spins that broadcast to ``shape``.
        shape: ``(T, R, Ly, Lx)``.
        key: Of the generator of random spins.

    Returns:
        int8 ``[T R, Ly, Lx]`` of ±1.

    Raises:
        InputError: If the name is unknown, the shape does not fit, or a spin has another value.
    """
    lattices = (shape[0] * shape[1], *shape[2:])
    if not isinstance(init, str):
        return _check_spins(init, shape).reshape(lattices)
    start = parse_choice("init", init, Start)
    if start is Start.RANDOM:
        count = math.prod(shape)
        drawn = np.frombuffer(philox(key, 0).bytes((count + 7) // 8), dtype=np.uint8)
        spins = np.unpackbits(drawn, count=count).view(np.int8)
        spins *= 2
        spins -= 1
        return spins.reshape(lattices)
    if start is Start.CHECKERBOARD:
        parity = np.add.outer(np.arange(shape[2]), np.arange(shape[3])) & 1
        return np.broadcast_to((1 - 2 * parity).astype(np.int8), lattices).copy()
    return np.full(lattices, 1 if start is Start.UP else -1, dtype=np.int8)


def given_spins(init: npt.ArrayLike) -> npt.NDArray[Any]:
    """Spins that the caller gives as an array of any type; :func:`first_spins` checks them.

    Raises:
        InputError: If they are no array.
    """
    if np.ma.isMaskedArray(init):
        raise InputError("init must be plain spins, got a masked array")
    try:
        return np.asarray(init)
    except (ValueError, RuntimeError):
        raise InputError("init must be an array of spins, got rows of different lengths or a gradient") from None


def _check_spins(init: npt.ArrayLike, shape: tuple[int, int, int, int]) -> npt.NDArray[np.int8]:
    """Spins ±1 broadcast to ``[T, R, Ly, Lx]``."""
    spins = given_spins(init)
    if spins.dtype.kind not in "if" or spins.ndim < 2 or not (np.abs(spins) == 1).all():
        raise InputError("init must be an array [..., Ly, Lx] of spins that are -1 or 1")
    try:
        values = np.broadcast_to(spins, shape)
    except ValueError:
        raise InputError(f"init must broadcast to [T, R, Ly, Lx] = {list(shape)}, got shape {spins.shape}") from None
    return np.ascontiguousarray(values, dtype=np.int8)

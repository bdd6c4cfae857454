"""Import the snapshots that the authors of arXiv 2502.01739 published as a pickle, without trusting it.

A pickle can name any function of any module and call it. The reader here knows five names, those that stand
for NumPy's arrays and scalars, and gives each a plain stand-in; every other name is refused. NumPy's own
unpickling does not run either: arrays are made from checked bytes afterwards.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from grokfast.errors import InputError
from grokfast.ising.dataset import IsingDataset, phases, snapshot_quantities
from grokfast.ising.kinds import Phase


def import_published_pickle(path: str | os.PathLike[str]) -> IsingDataset:
    """Read a pickled pair: a description, and a list of (snapshot, phase, temperature).

    A list without description, and the two as pickles one after the other, are read as well. The phase may
    have any two values; the one of the colder snapshots becomes ``ORDERED``.

    Args:
        path: The pickle.

    Returns:
        The snapshots in the file's order, with energies and magnetisations for J = 1 and periodic edges.

    Raises:
        InputError: If the pickle names anything but NumPy arrays and builtin containers, is damaged, or holds
            something else.
        OSError: If it cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            objects = [_Reader(file).load()]
            while file.peek(1):
                objects.append(_Reader(file).load())
    except (OSError, InputError):
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"{name} is not a readable pickle: {type(error).__name__}: {error}") from error
    items, description = _find_items(objects)
    if items is None:
        raise InputError(
            f"{name} must hold a list of (snapshot, phase, temperature) behind a description, "
            f"got {_outline(objects[0])}"
        )
    try:
        spins = np.stack([_as_array(item[0]) for item in items])
        marks = [_plain(item[1]) for item in items]
        temperatures = np.array([float(_plain(item[2])) for item in items])
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"{name}: an item is not (snapshot, phase, temperature): {error}") from error
    if spins.ndim != 3 or not np.isin(spins, (-1, 1)).all():
        raise InputError(f"{name}: snapshots must be arrays [Ly, Lx] of -1 and 1, got shape {spins.shape[1:]}")
    if not (temperatures > 0).all():
        raise InputError(f"{name}: temperatures must be > 0")
    snapshots = np.ascontiguousarray(spins, dtype=np.int8)
    energies, magnetizations = snapshot_quantities(snapshots)
    return IsingDataset(
        spins=torch.from_numpy(snapshots),
        labels=torch.from_numpy(_labels(marks, temperatures, name)),
        temperatures=torch.from_numpy(temperatures),
        energies=torch.from_numpy(energies),
        magnetizations=torch.from_numpy(magnetizations),
        parameters={"source": os.path.basename(name), "description": description},
    )


class _Dtype:
    """Stand-in for a NumPy dtype: its name and byte order."""

    def __init__(self, name: object, align: object = False, copy: object = False) -> None:
        self.name = name
        self.order: Literal["<", ">", "|", "="] = "="

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def get(self) -> np.dtype[Any]:
        """The dtype, if it is a plain number."""
        if isinstance(self.name, str) and len(self.name) <= 3:
            dtype = np.dtype(self.name)
            if dtype.kind in "bifu":
                return dtype.newbyteorder(self.order) if self.order in "<>" else dtype
        raise InputError(f"the pickle holds an array of {self.name!r}, expected plain numbers")


class _Array:
    """Stand-in for a NumPy array: what is needed to make it."""

    def __init__(self) -> None:
        self.shape: object = None
        self.dtype: object = None
        self.fortran: object = False
        self.data: object = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise InputError("the pickle holds a damaged array")
        _, self.shape, self.dtype, self.fortran, self.data = state

    def get(self) -> npt.NDArray[Any]:
        """The array, if its bytes fit its shape."""
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        if (
            not isinstance(self.dtype, _Dtype)
            or not isinstance(data, bytes | bytearray)
            or not isinstance(self.shape, tuple)
            or not all(type(side) is int and side >= 0 for side in self.shape)
        ):
            raise InputError("the pickle holds a damaged array")
        dtype = self.dtype.get()
        if math.prod(self.shape) * dtype.itemsize != len(data):
            raise InputError("the pickle holds an array whose bytes do not fit its shape")
        return np.frombuffer(data, dtype).reshape(self.shape, order="F" if self.fortran else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _scalar(dtype: object, data: object) -> _Array:
    array = _Array()
    array.shape, array.dtype, array.data = (), dtype, data
    return array


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.shape, array.dtype, array.data, array.fortran = shape, dtype, data, order == "F"
    return array


def _encode(text: object, codec: object) -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise InputError("the pickle encodes something other than bytes")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows the stand-ins and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name, or an error."""
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise InputError(
                f"the pickle asks for {module}.{name}; only NumPy arrays and builtin containers are read"
            ) from None


def _find_items(objects: list[Any]) -> tuple[list[Any] | None, str]:
    """The list of triples and the description before it."""
    candidates = objects if len(objects) > 1 else [objects[0]]
    if len(candidates) == 1 and isinstance(objects[0], list | tuple) and len(objects[0]) == 2:
        candidates = list(objects[0])
    items = candidates[-1]
    described = candidates[0] if len(candidates) == 2 else ""
    if len(candidates) > 2 or not isinstance(items, list | tuple) or not items:
        return None, ""
    if not all(isinstance(item, list | tuple) and len(item) == 3 for item in items):
        return None, ""
    return list(items), described if isinstance(described, str) else repr(_outline(described))


def _as_array(value: Any) -> npt.NDArray[Any]:
    """A snapshot as an array, whether it was one or a list of lists."""
    return value.get() if isinstance(value, _Array) else np.array(value)


def _plain(value: Any) -> Any:
    """A Python number or string for a scalar of either kind."""
    if isinstance(value, _Array):
        value = value.get()
        if value.size != 1:
            raise ValueError(f"expected one number, got an array of shape {value.shape}")
        return value.reshape(()).item()
    if isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"expected a number, got {type(value).__name__}")


def _labels(marks: list[Any], temperatures: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.int64]:
    """Phases from the file's own marks: the colder of two is the ordered one."""
    kinds = sorted(set(marks), key=str)
    if len(kinds) == 1:
        by_temperature = phases(temperatures)
        if (by_temperature == by_temperature[0]).all():
            return by_temperature
    if len(kinds) == 2:
        second = np.array([mark == kinds[1] for mark in marks])
        if temperatures[~second].max() < temperatures[second].min():
            return np.where(second, Phase.DISORDERED, Phase.ORDERED).astype(np.int64)
        if temperatures[second].max() < temperatures[~second].min():
            return np.where(second, Phase.ORDERED, Phase.DISORDERED).astype(np.int64)
    raise InputError(f"{name}: phases must be two values, one for the colder snapshots, got {kinds[:5]}")


def _outline(value: object) -> str:
    """What an object is, for a message."""
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__

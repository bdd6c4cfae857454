"""Counters by which kernels that run without the GIL in several threads wait for each other."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from grokfast.ising.jit import kernel


def _data_of(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Pointer to the first element of the array that is the first argument."""
    proxy: Any = cgutils.create_struct_proxy(signature.args[0])  # type: ignore[no-untyped-call]
    return proxy(context, builder, arguments[0]).data


@intrinsic
def _add(typing_context: Any, array: Any, value: Any) -> Any:
    """Add ``value`` to ``array[0]`` at once for all threads; the old value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _data_of(context, builder, signature, arguments)
        return builder.atomic_rmw("add", data, arguments[1], "seq_cst")

    return types.int64(array, types.int64), generate


@intrinsic
def _load(typing_context: Any, array: Any) -> Any:
    """``array[0]`` as other threads left it: unlike an addition of 0 it leaves the cache line shared."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_data_of(context, builder, signature, arguments), "seq_cst", 8)

    return types.int64(array), generate


LINE = 16
"""Words from one counter to the next: a pair of cache lines, so that waiting disturbs nobody else."""

_atomic_add: Any = _add
_atomic_load: Any = _load

if sys.platform == "win32":

    @kernel
    def _give_way() -> None:
        """Keep spinning."""

else:
    _sched_yield = types.ExternalFunction("sched_yield", types.int32())

    @kernel
    def _give_way() -> None:
        """Let another thread have the processor."""
        _sched_yield()


@kernel
def advance(counter: npt.NDArray[np.int64]) -> None:
    """Add 1 to ``counter[0]``, after everything that this thread has written."""
    _atomic_add(counter, 1)


@kernel
def wait(counter: npt.NDArray[np.int64], target: int) -> None:
    """Spin until ``counter[0]`` is at least ``target``; what was written before is visible then."""
    spins = 0
    while _atomic_load(counter) < target:
        spins += 1
        if spins > 1000:
            _give_way()

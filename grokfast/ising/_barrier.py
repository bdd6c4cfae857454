"""A spin barrier for kernels that run without the GIL in several threads."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from grokfast.ising._jit import kernel


@intrinsic
def _add(typing_context: Any, array: Any, value: Any) -> Any:
    """Add ``value`` to ``array[0]`` at once for all threads; the old value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        proxy: Any = cgutils.create_struct_proxy(signature.args[0])  # type: ignore[no-untyped-call]
        data = proxy(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, arguments[1], "seq_cst")

    return types.int64(array, types.int64), generate


_atomic_add: Any = _add

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
def wait(barrier: npt.NDArray[np.int64], target: int) -> None:
    """Arrive at the barrier and wait until ``target`` arrivals have been counted in ``barrier[0]``."""
    _atomic_add(barrier, 1)
    spins = 0
    while _atomic_add(barrier, 0) < target:
        spins += 1
        if spins > 200:
            _give_way()

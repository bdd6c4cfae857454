"""The decorator of every compiled kernel here: Numba, without the GIL, cached on disk where that is safe."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache

_F = TypeVar("_F", bound=Callable[..., Any])


@functools.cache
def _fingerprint() -> str:
    """A digest of the kernels' sources, the processor and Numba's version.

    It is part of the name of every cache file. A kernel has one signature, so all processes that meet in one
    file write the same content into it, whatever their order, also on machines that share a disk.
    """
    digest = hashlib.sha256()
    for source in (Path(__file__), *sorted(Path(__file__).parent.glob("_*.py"))):
        if source.name != "__init__.py":
            digest.update(source.read_bytes())
    target = numba.core.registry.cpu_target.target_context.codegen().magic_tuple()
    digest.update(repr((numba.__version__, target)).encode())
    return digest.hexdigest()[:16]


class _KernelCacheImpl(CompileResultCacheImpl):
    """Numba's file cache with the fingerprint in its file names."""

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        """The name of a kernel's cache files, without the ending."""
        base = super().get_filename_base(fullname, abiflags)  # type: ignore[no-untyped-call]
        return f"{base}-{_fingerprint()}"


class _KernelCache(FunctionCache):
    """Numba's file cache that falls back to compiling: a damaged or read-only cache never stops a run."""

    _impl_class = _KernelCacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The cached machine code, or None if there is none that can be used."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # whatever a truncated file makes pickle raise
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the machine code if the folder can still be written."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except Exception:
            self._replace_damaged(sig, data)

    def _replace_damaged(self, sig: Any, data: Any) -> None:
        """Start the index anew, in case it was the damaged index that raised."""
        try:
            self.flush()  # type: ignore[no-untyped-call]
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except Exception:
            self.disable()  # type: ignore[no-untyped-call]


def kernel(function: _F) -> _F:
    """Compile ``function`` with Numba at its first call; it runs without the GIL.

    The compiled code is cached beside the source or, where that cannot be written, in the user's cache folder
    (``NUMBA_CACHE_DIR`` overrides both). Without any writable folder it is compiled again by each process.
    """
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(RuntimeError, OSError):  # no writable folder
            dispatcher._cache = _KernelCache(function)  # type: ignore[no-untyped-call]
    return cast(_F, dispatcher)


def cache_folder() -> Path | None:
    """Where compiled kernels are kept between processes, or None if no folder can be written."""
    try:
        return Path(_KernelCache(cache_folder).cache_path)  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError):
        return None

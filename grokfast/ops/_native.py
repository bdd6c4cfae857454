"""The way to the compiled kernels: which are there, and how they are called.

``GROKFAST_NATIVE`` is read once, at the first kernel call:

* ``auto`` (default): compiled kernels where they exist, the slow references otherwise, with one warning if the
  whole extension is missing;
* ``require``: raise if the extension is missing;
* ``off``: references only.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Callable
from enum import StrEnum
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from grokfast._checks import parse_choice
from grokfast.errors import NativeError

_SUFFIXES = {torch.float32: "f32", torch.float64: "f64"}


class NativeMode(StrEnum):
    """What ``GROKFAST_NATIVE`` may say."""

    AUTO = "auto"
    REQUIRE = "require"
    OFF = "off"


@functools.cache
def native_mode() -> NativeMode:
    """The mode in force, from ``GROKFAST_NATIVE``; read once per process."""
    return parse_choice("GROKFAST_NATIVE", os.environ.get("GROKFAST_NATIVE", "auto"), NativeMode)


@functools.cache
def native() -> ModuleType | None:
    """The compiled extension, or None if it is absent or switched off.

    Raises:
        NativeError: If ``GROKFAST_NATIVE=require`` and the extension cannot be imported.
    """
    mode = native_mode()
    if mode is NativeMode.OFF:
        return None
    try:
        return importlib.import_module("grokfast._core")
    except ImportError as error:
        advice = (
            "the compiled extension grokfast._core cannot be imported "
            f"({error}); build it with `pip install .`, and do not run from the checkout's root, where the "
            "folder grokfast/ hides the installed package"
        )
        if mode is NativeMode.REQUIRE:
            raise NativeError(f"GROKFAST_NATIVE=require, but {advice}") from error
        warnings.warn(f"slow references in use: {advice}", RuntimeWarning, stacklevel=2)
        return None


@functools.cache
def _kernel(name: str, device: str, dtype: torch.dtype) -> Callable[..., None] | None:
    core = native()
    if core is None or dtype not in _SUFFIXES:
        return None
    found = getattr(core, f"{device}_{name}_{_SUFFIXES[dtype]}", None)
    # A build with CUDA has every kernel that is worth having there.
    if found is None and device == "cuda" and not core.cuda_built:
        warnings.warn(
            f"slow reference in use for {name} on CUDA: this build has no CUDA kernels; "
            "build with nvcc on PATH and GROKFAST_CUDA=ON",
            RuntimeWarning,
            stacklevel=3,
        )
    return found


def kernel(name: str, like: Tensor) -> Callable[..., None] | None:
    """The compiled kernel ``name`` for the device and dtype of ``like``, or None if there is none."""
    return _kernel(name, like.device.type, like.dtype)


def call(run: Callable[..., None], like: Tensor, *arguments: Any) -> None:
    """Call a kernel on the device of ``like``: tensors go as addresses, then threads or stream come last."""
    raw = [value.data_ptr() if isinstance(value, Tensor) else value for value in arguments]
    if like.is_cuda:
        with torch.cuda.device(like.device):
            run(*raw, torch.cuda.current_stream(like.device).cuda_stream)
    else:
        run(*raw, torch.get_num_threads())


def instruction_set() -> str:
    """The instruction sets that results on the CPU depend on: this package's kernels' and torch's own."""
    core = native()
    return f"{'reference' if core is None else core.isa()}, torch {torch.backends.cpu.get_cpu_capability()}"


def advise_huge_pages(block: Tensor) -> None:
    """Ask the system for huge pages under a fresh CPU tensor; where it has none, nothing happens."""
    core = native()
    if core is not None and block.device.type == "cpu":
        core.advise_huge_pages(block.data_ptr(), block.nbytes)

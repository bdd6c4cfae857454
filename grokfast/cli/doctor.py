"""`grokfast doctor`: what is installed, what is native, and what to do about anything missing."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch

from grokfast.cli.printing import call, say
from grokfast.errors import NativeError
from grokfast.ops import native, native_mode

_PACKAGES = ("torch", "numpy", "numba", "scipy", "duckdb", "safetensors", "matplotlib", "tyro", "rich")


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(doctor, arguments, "grokfast doctor")


def doctor() -> None:
    """Print versions, kernels, instruction set, CUDA and Numba's state, with advice."""
    advice: list[str] = []
    say(f"grokfast {importlib.metadata.version('grokfast')}, Python {platform.python_version()}, {platform.platform()}")
    say("packages: " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))
    try:
        core = native()
    except NativeError as error:
        core = None
        advice.append(str(error))
    _extension(core, advice)
    _cuda(core, advice)
    _numba(advice)
    say("\nall is well" if not advice else "\nto do:\n" + "\n".join(f"- {line}" for line in advice))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _extension(core: ModuleType | None, advice: list[str]) -> None:
    say(f"GROKFAST_NATIVE: {native_mode().value}")
    if core is None:
        say("native build: no (slow references are in use)")
        if native_mode().value == "off":
            advice.append("unset GROKFAST_NATIVE to use the compiled kernels")
        elif not advice:
            advice.append("build the extension: `pip install .` with a C++17 compiler")
        return
    names = [name for name in dir(core) if name.endswith("_f32")]
    kernels = sorted({name.split("_", 1)[1].rsplit("_", 1)[0] for name in names})
    say(f"native build: yes, {core.__file__}")
    say(f"instruction set: {core.isa()}; kernel threads: {torch.get_num_threads()}")
    for kernel in kernels:
        devices = [device for device in ("cpu", "cuda") if f"{device}_{kernel}_f32" in names]
        say(f"  {kernel}: {', '.join(devices)}")


def _cuda(core: ModuleType | None, advice: list[str]) -> None:
    built = core is not None and core.cuda_built
    toolkit = f" (toolkit {core.cuda_toolkit // 1000}.{core.cuda_toolkit % 1000 // 10})" if core and built else ""
    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    say(f"CUDA kernels built: {'yes' if built else 'no'}{toolkit}; torch has CUDA: {torch.version.cuda or 'no'}")
    say(f"CUDA devices visible: {visible}")
    for index in range(visible):
        say(f"  {index}: {torch.cuda.get_device_name(index)}")
    if visible and not built:
        advice.append(
            "a GPU is here but the build has no CUDA kernels: put nvcc on PATH and GROKFAST_CUDA=ON, reinstall"
        )


def _numba(advice: list[str]) -> None:
    import numba

    from grokfast.ising.jit import cache_folder

    config: Any = numba.config
    folder = cache_folder()
    say(f"Numba {numba.__version__}: threading layer {config.THREADING_LAYER}, {config.NUMBA_NUM_THREADS} threads")
    say(f"Numba cache: {folder or 'none, no folder can be written'}")
    if folder is None:
        advice.append("set NUMBA_CACHE_DIR to a writable folder, or every process compiles the Ising kernels anew")

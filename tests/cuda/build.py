"""Compile the CUDA kernels for the CPU, with ``emulated/`` in the place of CUDA: ``build.py FOLDER [CSRC]``.

Leaves the module ``emulated_kernels`` in the folder, under AddressSanitizer and UndefinedBehaviorSanitizer; what has
not changed since the last call is not compiled again. CSRC is another tree of sources than this checkout's.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11

HERE = Path(__file__).resolve().parent
FLAGS = [
    "-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
    "-DGROKFAST_EMULATED", "-DGROKFAST_WITH_CUDA",
]  # fmt: skip
SANITIZE = [
    "-fsanitize=address,undefined", "-fsanitize-sections=emulated_shared", "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]  # fmt: skip


def build(folder: Path, csrc: Path = HERE.parents[1] / "csrc") -> Path:
    """Compile what has changed, link, and return the module's path.

    Raises:
        subprocess.CalledProcessError: If a source does not compile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    include = [HERE / "emulated", csrc / "include", csrc / "bindings", csrc / "cuda", pybind11.get_include(),
               sysconfig.get_path("include")]  # fmt: skip
    compiler = [os.environ.get("CXX", "c++"), *FLAGS, *(f"-I{path}" for path in include)]
    kernels = [*sorted((csrc / "cuda").glob("*.cu")), HERE / "faults.cu"]
    sources = [*kernels, *sorted((HERE / "emulated").glob("*.cpp"))]

    def compiled(source: Path) -> Path:
        command = [*compiler, *(["-O0"] if source.stem == "module" else SANITIZE)]  # the module has nothing to look at
        command += ["-x", "c++"] if source.suffix == ".cu" else []
        text = subprocess.run([*command, "-E", "-P", source], check=True, capture_output=True).stdout
        name = hashlib.sha256(text + " ".join(command).encode()).hexdigest()[:16]
        target = folder / f"{source.stem}-{name}.o"
        if not target.exists():
            unfinished = target.with_suffix(".part")
            subprocess.run([*command, "-c", source, "-o", unfinished], check=True)
            unfinished.rename(target)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sources))
    module = folder / f"emulated_kernels{sysconfig.get_config_var('EXT_SUFFIX')}"
    link = [compiler[0], "-shared", "-fsanitize=address,undefined", "-o", module]
    subprocess.run([*link, *objects], check=True)
    return module


if __name__ == "__main__":
    build(*map(Path, sys.argv[1:]))

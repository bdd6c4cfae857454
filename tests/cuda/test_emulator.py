"""The emulated GPU finds what it is there to find: planted faults, each beside the same kernel without its fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = os.environ.get("GROKFAST_EMULATED_CUDA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="NO EMULATED GPU: run tests/cuda/run.sh")

# The number in faults.cu, and what the message has.
WRONG = "wrong sums"
FAULTS = {
    "no barrier between writing and reading": (1, WRONG),
    "no barrier between reading and writing again": (2, WRONG),
    "half of the threads at another barrier": (3, "threads wait at the barrier of line"),
    "threads that left before a barrier": (4, "have left"),
    "lanes that left before a shuffle": (5, "have left"),
    "a lane that reads one outside of the mask": (6, "which takes no part"),
    "a load behind an array": (7, "heap-buffer-overflow"),
    "a store before an array": (8, "heap-buffer-overflow"),
    "a load behind a shared array": (9, "global-buffer-overflow"),
    "a store behind dynamic shared memory": (10, "use-after-poison"),
    "shared memory that nobody wrote": (11, WRONG),
    "more threads than a block may have": (12, "threads"),
    "more shared memory than a block may have": (13, "bytes of shared memory a block"),
    "shared memory that was not asked for": (14, "that were not asked for"),
    "an overflow of int": (15, "signed integer overflow"),
}
PROGRAM = """
import sys
from array import array
sys.path.insert(0, {folder!r})
import emulated_kernels as gpu
which, n = {which}, 300
gpu.seed({seed})
data = array("d", range(n))
if abs(which) in (5, 6):
    wanted = [sum(data[k // 32 * 32 : k // 32 * 32 + 32]) for k in range(n)]
elif abs(which) == 15:
    wanted = [k + k % 256 + 1 + 2147483647 - 1024 for k in range(n)]
else:
    wanted = [2 * sum(data[k // 256 * 256 : k // 256 * 256 + 256]) for k in range(n)]
gpu.fault(which, data.buffer_info()[0], n, 0)
if list(data) != wanted:
    sys.exit("wrong sums")
"""


def _run(which, seed):
    program = PROGRAM.format(folder=str(Path(FOLDER).resolve()), which=which, seed=seed)
    return subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    which, message = FAULTS[name]
    found = _run(which, seed=3)
    assert found.returncode != 0
    assert message in found.stderr, found.stderr[-2000:]


@pytest.mark.parametrize("which", [-1, -5, -15])
def test_without_its_fault_a_kernel_is_right(which):
    found = _run(which, seed=4)
    assert found.returncode == 0, found.stderr[-2000:]

"""Training gives the bits it gave before: hashes of parameters, for the machines they were taken on.

What was pinned was trained by engine 1, before the frame was rebuilt; modular addition with one hidden layer under Adam
and AdamW by engine 2, which sums over active units. The hashes belong to one torch version, one pair of instruction
sets (this package's kernels, torch's own) and one maker of CPUs; anywhere else the test is skipped and says so. Those
of Intel's were taken later, by the same code: only those of the deep network differ from AMD's.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from grokfast import Ising, ModularAddition, RunConfig
from grokfast.training import initial_stack, run_epochs
from grokfast.training.stack import quiet_numerics

PINNED = json.loads(Path(__file__).with_name("pinned_bits.json").read_text())
TASKS = {
    "modular": (ModularAddition(P=7, hidden=(16,), label_noise=0.1), {"batch_size": 8, "reshuffle": True}),
    "modular-deep": (ModularAddition(P=7, hidden=(9, 6)), {"batch_size": 16}),
    "ising": (
        Ising(L=8, temperatures=6, snapshots=40, sweeps=5, train_size=40, test_size=60, hidden=(9,)),
        {"learning_rate": 5e-3},
    ),
}
CASES = [
    f"{task}/{optimizer}/{precision}/{members}"
    for task in TASKS
    for optimizer in ("adam", "adamw", "sgd")
    for precision in ("float32", "float64")
    for members in (1, 3)
]


def trained_hash(case: str) -> str:
    """SHA-256 of the parameters of every member after five epochs."""
    name, optimizer, precision, members = case.split("/")
    task, fields = TASKS[name]
    plain: dict[str, Any] = {"task": task, "epochs": 5, "optimizer": optimizer, "precision": precision, **fields}
    if optimizer == "sgd":
        plain |= {"learning_rate": 0.05, "momentum": 0.8}
    scales = [(0.5, 0), (1.0, 1), (4.0, 7)][: int(members)]
    with quiet_numerics():
        state = initial_stack([RunConfig(**plain, w0=w0, seed=seed) for w0, seed in scales])
        run_epochs(state)
    digest = hashlib.sha256()
    for name, tensor in state.params.items():
        digest.update(f"{name}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def machine(isa: str) -> str:
    """What the bits depend on."""
    own = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, kernels {isa}, torch's own {own}, {_vendor()}"


def _vendor() -> str:
    """Who made the CPU: torch's matrix products of deep networks differ between Intel's and AMD's."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown CPU"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "unknown CPU")


@pytest.mark.parametrize("case", CASES)
def test_training_gives_the_bits_it_gave_before(case: str, isa: str) -> None:
    pinned = PINNED.get(machine(isa))
    if pinned is None:
        pytest.skip(f"BITS NOT COMPARED: none are pinned for {machine(isa)}; there are some for {sorted(PINNED)}")
    assert trained_hash(case) == pinned[case]

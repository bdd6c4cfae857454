"""One flipped bit anywhere in a store is an error that names the file, or changes nothing: never another value."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grokfast import ModularAddition, RunConfig, Store, load, train_runs
from grokfast.errors import GrokfastError, InputError, StoreError
from grokfast.fisher import FisherDiagonal, fisher_diag
from grokfast.ising import ising_dataset, load_dataset, save_dataset
from grokfast.models import mlp
from grokfast.store import derived

TASK = ModularAddition(P=5, hidden=(8,))
CONFIGS = [
    RunConfig(task=TASK, epochs=6, batch_size=8, w0=w0, checkpoint_schedule="log:3", geometry="logit-4")
    for w0 in (1.0, 2.0, 3.0)
]

few_or_many = pytest.mark.parametrize(
    "flips", [60, pytest.param(1000, marks=pytest.mark.slow)], ids=lambda count: f"{count}-flips"
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, measures of them and an index."""
    folder = tmp_path_factory.mktemp("flips") / "runs"
    train_runs(CONFIGS, folder)
    store = Store(folder)
    for config in CONFIGS:
        derived(store, config.key, "measure-x", "1", lambda config=config: {"x": np.array(config.w0)})
    load(folder)
    return folder


@contextmanager
def _flipped(file: Path, bit: int) -> Iterator[None]:
    """A file with one bit changed, and its time stamps as they were."""
    whole, times = file.read_bytes(), file.stat()
    wrong = bytearray(whole)
    wrong[bit // 8] ^= 1 << bit % 8
    file.write_bytes(wrong)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        yield
    finally:
        file.write_bytes(whole)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def _bits(values: Any) -> Any:
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in values.items()}


def _everything(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """All that can be read, part by part, and the errors."""
    parts: dict[str, Any] = {}
    errors: list[str] = []

    def read(name: str, part: Callable[[], Any]) -> None:
        try:
            parts[name] = part()
        except GrokfastError as error:
            errors.append(str(error))

    store = Store(folder)
    read("table", lambda: load(folder))
    table = parts.pop("table", None)
    if table is not None:
        errors += table.damaged
        for row in table.rows:
            parts |= {f"row {row['key']} {name}": repr(value) for name, value in row.items()}
    for config in CONFIGS:
        key = config.key
        read(f"record {key}", lambda key=key: store.record(key))
        read(f"history {key}", lambda key=key: _bits(store.history(key)))
        for name in ("arrays", "checkpoints"):
            read(f"{name} {key}", lambda key=key, name=name: _bits(store.tensors(key, name)))
    return parts, errors


@few_or_many
def test_no_flip_in_a_store_is_silent(stored: Path, tmp_path: Path, flips: int) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(stored, folder)  # copy2 keeps the time stamps, but inodes are new
    load(folder)
    right, none = _everything(folder)
    assert none == []
    assert sum(name.endswith(" x") for name in right) == 3
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size)
    rng = random.Random(flips)
    named = 0
    for k in range(flips):
        file = files[k % len(files)]
        bit = rng.randrange(8 * file.stat().st_size)
        with _flipped(file, bit):
            found, errors = _everything(folder)
        for name, value in found.items():
            assert value == right[name], f"{file} bit {bit}: {name} is another value, in silence"
        if found.keys() != right.keys():
            assert errors, f"{file} bit {bit}: {right.keys() - found.keys()} are missing, in silence"
            assert any(file.name in error or file.parent.name in error for error in errors), (file, bit, errors)
            lost = {name.split()[1] for name in right.keys() - found.keys()}
            assert len(lost) == 1 or file.name == "store.json", f"{file} bit {bit} cost {lost}"
            named += 1
    assert named > 0.7 * flips


@few_or_many
@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_no_flip_in_a_data_set_is_silent(tmp_path: Path, flips: int, suffix: str) -> None:
    file = tmp_path / f"spins{suffix}"
    made = ising_dataset(L=4, temperatures=np.linspace(1.5, 3.5, 4), snapshots=3, sweeps=2, seed=1)
    save_dataset(made, file)
    names = ("spins", "labels", "temperatures", "energies", "magnetizations")
    rng = random.Random(flips)
    refused = 0
    for _ in range(flips):
        with _flipped(file, bit := rng.randrange(8 * file.stat().st_size)):
            try:
                found = load_dataset(file)
            except InputError as error:
                refused += file.name in str(error)
                continue
        assert found.parameters == made.parameters, bit
        for name in names:
            assert torch.equal(getattr(found, name), getattr(made, name)), (bit, name)
    assert refused > flips // 2


@few_or_many
def test_no_flip_in_a_saved_diagonal_is_silent(tmp_path: Path, flips: int) -> None:
    file = tmp_path / "fisher.safetensors"
    made = fisher_diag(mlp((3, 4, 2)), torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    made.save(file)
    rng = random.Random(flips)
    refused = 0
    for _ in range(flips):
        with _flipped(file, bit := rng.randrange(8 * file.stat().st_size)):
            try:
                found = FisherDiagonal.load(file)
            except InputError as error:
                refused += file.name in str(error)
                continue
        assert (found.n, found.kind, found.likelihood, found.reduction) == (
            made.n,
            made.kind,
            made.likelihood,
            made.reduction,
        )
        assert all(torch.equal(found[name], value) for name, value in made.items()), bit
    assert refused > flips // 2


def test_what_is_read_without_checksums_says_so(stored: Path, tmp_path: Path) -> None:
    """The flag for bulk scans: the file is read as it is."""
    folder = tmp_path / "runs"
    shutil.copytree(stored, folder)
    file = Store(folder).path(CONFIGS[0].key) / "checkpoints.safetensors"
    with _flipped(file, 8 * (file.stat().st_size - 1)):
        with pytest.raises(StoreError, match=r"checkpoints\.safetensors is damaged.*check --repair"):
            load(folder)[CONFIGS[0].key].checkpoint()
        assert load(folder, verify=False)[CONFIGS[0].key].checkpoint()

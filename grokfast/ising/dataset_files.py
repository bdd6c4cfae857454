"""Data sets on disk: safetensors or npz, parameters included, without pickle."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from grokfast.checksums import digest_of, digest_of_arrays
from grokfast.errors import InputError
from grokfast.ising.dataset import IsingDataset

_FIELDS = ("spins", "labels", "temperatures", "energies", "magnetizations")
_SUFFIXES = (".safetensors", ".npz")


def save_dataset(dataset: IsingDataset, path: str | os.PathLike[str]) -> None:
    """Write a data set with its parameters and a checksum; a reader sees the old file or the whole new one.

    Args:
        dataset: What to save.
        path: Ends in ``.safetensors`` or ``.npz``.

    Raises:
        InputError: If the ending is another.
        OSError: If it cannot be written.
    """
    target = _check_suffix(path)
    arrays = {name: getattr(dataset, name).contiguous().numpy() for name in _FIELDS}
    parameters = json.dumps(dict(dataset.parameters), sort_keys=True)
    handle, temporary = tempfile.mkstemp(suffix=target.suffix, prefix=f".{target.stem}-", dir=target.parent)
    os.close(handle)
    try:
        if target.suffix == ".npz":
            stored = {**arrays, "parameters": np.frombuffer(parameters.encode(), dtype=np.uint8)}
            np.savez_compressed(temporary, allow_pickle=False, **stored)
        else:
            from safetensors.numpy import save_file

            about = {"parameters": parameters, "sha256": _digest(arrays, parameters)}
            save_file(arrays, temporary, metadata=about)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_dataset(path: str | os.PathLike[str]) -> IsingDataset:
    """Read what :func:`save_dataset` wrote, and compare it with its checksum.

    Files of early versions of grokfast have none in ``.safetensors`` and are read as they are; ``.npz`` has always had
    the checksums of its archive.

    Args:
        path: Ends in ``.safetensors`` or ``.npz``.

    Returns:
        The data set, equal bit for bit.

    Raises:
        InputError: If the file is not such a data set, or damaged.
        FileNotFoundError: If there is none.
    """
    source = _check_suffix(path)
    try:
        arrays, text = _read(source)
        parameters = json.loads(text)
        tensors = {name: torch.from_numpy(np.array(arrays[name])) for name in _FIELDS}
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # each reader has exceptions of its own for damaged files
        raise InputError(f"{source} is not a data set of Ising snapshots: {error}") from error
    if not isinstance(parameters, dict):
        raise InputError(f"{source} is not a data set of Ising snapshots: its parameters are no dictionary")
    return IsingDataset(**tensors, parameters=parameters)


def _read(source: Path) -> tuple[dict[str, npt.NDArray[Any]], str]:
    """The arrays and the JSON text of the parameters."""
    if source.suffix == ".npz":
        if not zipfile.is_zipfile(source) and source.exists():
            raise InputError("no zip archive")
        # Opened here, so that it is closed also where a damaged archive cannot be.
        with source.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in _FIELDS}, stored["parameters"].tobytes().decode()
    from safetensors import safe_open

    if not source.exists():
        raise FileNotFoundError(source)
    with safe_open(source, framework="numpy") as stored:
        about = stored.metadata() or {}
        arrays = {name: stored.get_tensor(name) for name in _FIELDS}
    if not about.keys() <= {"parameters", "sha256"}:
        raise InputError(f"its header has entries that no version writes: {sorted(about)}")
    if about.get("sha256") not in (None, _digest(arrays, about["parameters"])):
        raise InputError("it is damaged: its checksum is not the one it was saved with")
    return arrays, about["parameters"]


def _digest(arrays: dict[str, npt.NDArray[Any]], parameters: str) -> str:
    return digest_of({"arrays": digest_of_arrays(arrays), "parameters": parameters})


def _check_suffix(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix not in _SUFFIXES:
        raise InputError(f"path must end in .safetensors or .npz, got {os.fspath(path)!r}")
    return target

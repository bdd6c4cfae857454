"""Where the snapshots of the Ising task come from: sampled once a process, or read from a file."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import numpy as np

from grokfast.errors import ConfigError, InputError
from grokfast.ising import IsingDataset, import_published_pickle, ising_dataset, load_dataset

_SETS_KEPT = 4


@functools.lru_cache(maxsize=_SETS_KEPT)
def sampled_data(
    L: int, temperatures: int, snapshots: int, sweeps: int, dynamics: str, order: str, seed: int
) -> IsingDataset:
    """The data set of :func:`grokfast.ising_dataset`, kept in memory: it takes less time to make than to read."""
    return ising_dataset(L, temperatures, snapshots, sweeps, dynamics, seed=seed, order=order, threads=1)


def data_of_file(file: str) -> IsingDataset:
    """The data set of a file, kept in memory until the file changes.

    Args:
        file: A ``.safetensors`` or ``.npz`` that :func:`grokfast.ising.save_dataset` wrote; any other name is read
            as the pickle that the authors of arXiv 2502.01739 published.

    Raises:
        ConfigError: If it cannot be read or holds something else.
    """
    try:
        status = os.stat(file)
        return _read(file, status.st_mtime_ns, status.st_size)
    except (OSError, InputError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"data_file {file} cannot be used: {reason or error}") from error


@functools.lru_cache(maxsize=_SETS_KEPT)
def _read(file: str, modified: int, size: int) -> IsingDataset:
    read = load_dataset if Path(file).suffix in (".safetensors", ".npz") else import_published_pickle
    return read(file)


def fingerprint(dataset: IsingDataset) -> str:
    """A hash of the snapshots with their labels and temperatures, the same in whatever file they lie."""
    digest = hashlib.sha256(repr(tuple(dataset.spins.shape)).encode())
    for tensor in (dataset.spins, dataset.labels, dataset.temperatures):
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()[:16]

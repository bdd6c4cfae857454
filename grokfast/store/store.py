"""Run directories: one folder a run, published whole or not at all, readable by many machines at once.

Layout of a store::

    ROOT/<key>/current                 name of the version in force (a text file, replaced atomically)
    ROOT/<key>/<version>/run.json      configuration, status, summary, versions, host
    ROOT/<key>/<version>/history.parquet
    ROOT/<key>/<version>/<name>.safetensors

A version is written under a temporary name, synced and renamed; then ``current`` is replaced. A reader therefore sees
the old version or the new one, never half of either. Retraining adds a version; old ones stay until pruned by hand.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from grokfast.errors import StoreError

Arrays = Mapping[str, NDArray[Any]]


class Store:
    """A folder of runs.

    Args:
        root: The folder; created at the first publication.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()

    def check_writable(self) -> None:
        """Raise now, before hours of training, if nothing can be written here.

        Raises:
            StoreError: If the folder cannot be created or written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StoreError(
                f"the store folder {self.root} must be writable: {error.strerror or error}; choose another with --runs"
            ) from error

    def has(self, key: str) -> bool:
        """Whether a published run with this key exists."""
        return (self.root / key / "current").is_file()

    def publish(
        self, key: str, record: Mapping[str, Any], history: Arrays, tensors: Mapping[str, Arrays]
    ) -> Path:
        """Write a run and make it the current version of its key.

        Args:
            key: Name of the run.
            record: JSON values for ``run.json``.
            history: Columns ``[epochs]`` of ``history.parquet``; NaN becomes null.
            tensors: Arrays by name, by file (without suffix).

        Returns:
            The run's folder.

        Raises:
            StoreError: If anything cannot be written; nothing is left behind then and earlier versions stay.
        """
        home = self.root / key
        version = f"v{time.time_ns():x}-{secrets.token_hex(2)}"
        draft = home / f".tmp-{version}"
        try:
            draft.mkdir(parents=True)
            (draft / "run.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
            _write_parquet(draft / "history.parquet", history)
            for name, arrays in tensors.items():
                save_file(
                    {k: np.ascontiguousarray(v) for k, v in arrays.items()}, draft / f"{name}.safetensors"
                )
            for file in draft.iterdir():
                _sync(file)
            _sync(draft)
            draft.rename(home / version)
            pointer = home / f".tmp-current-{version}"
            pointer.write_text(version + "\n")
            _sync(pointer)
            pointer.replace(home / "current")
            _sync(home)
        except (OSError, SafetensorError, duckdb.Error) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise StoreError(f"run {key} could not be written to {self.root}: {error}") from error
        return home / version

    def path(self, key: str) -> Path:
        """Folder of the current version of a run.

        Raises:
            StoreError: If there is no such run or its folder is gone.
        """
        home = self.root / key
        try:
            version = (home / "current").read_text().strip()
        except OSError as error:
            raise StoreError(f"no run {key} in {self.root}") from error
        folder = home / version
        if not (folder / "run.json").is_file():
            raise StoreError(f"run {key} in {self.root} is damaged: {folder} has no run.json")
        return folder

    def keys(self) -> Iterator[str]:
        """Keys of all published runs, sorted."""
        if not self.root.is_dir():
            raise StoreError(
                f"expected a folder of runs, but {self.root} is not a folder; `grokfast train` makes one"
            )
        for home in sorted(self.root.iterdir()):
            if (home / "current").is_file():
                yield home.name

    def record(self, key: str) -> dict[str, Any]:
        """``run.json`` of a run.

        Raises:
            StoreError: If it is missing or not valid JSON.
        """
        file = self.path(key) / "run.json"
        try:
            found = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise StoreError(f"{file} is damaged: expected a JSON object")
        return found

    def history(self, key: str) -> dict[str, NDArray[Any]]:
        """Columns of ``history.parquet``; null is NaN."""
        file = self.path(key) / "history.parquet"
        try:
            with duckdb.connect() as connection:
                columns = connection.execute(
                    "SELECT * FROM read_parquet(?) ORDER BY epoch", [str(file)]
                ).fetchnumpy()
        except duckdb.Error as error:
            raise StoreError(f"{file} is damaged: {error}") from error
        return {name: _filled(values) for name, values in columns.items()}

    def tensors(self, key: str, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of one safetensors file of a run."""
        file = self.path(key) / f"{name}.safetensors"
        try:
            return load_file(file)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{file} is missing or damaged: {error}") from error


def _filled(values: Any) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(values.astype(np.float64).filled(np.nan))
    return np.asarray(values)


def _write_parquet(file: Path, columns: Arrays) -> None:
    names = ", ".join(
        f"CASE WHEN isnan({_quoted(name)}) THEN NULL ELSE {_quoted(name)} END AS {_quoted(name)}"
        if np.issubdtype(values.dtype, np.floating)
        else _quoted(name)
        for name, values in columns.items()
    )
    history = {name: np.ascontiguousarray(values) for name, values in columns.items()}
    with duckdb.connect() as connection:
        connection.register("history", history)
        connection.execute(f"COPY (SELECT {names} FROM history) TO '{_escaped(str(file))}' (FORMAT parquet)")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(text: str) -> str:
    return text.replace("'", "''")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

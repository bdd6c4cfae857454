"""Run directories: one folder a run, published whole or not at all, readable by many machines at once.

Layout of a store::

    ROOT/store.json                  version of this layout
    ROOT/<key>/current               version in force and SHA-256 of its run.json (replaced atomically)
    ROOT/<key>/<version>/run.json    configuration, status, summary, versions, host; size and SHA-256 of
                                     the other files
    ROOT/<key>/<version>/history.parquet
    ROOT/<key>/<version>/<name>.safetensors

A version is written under a temporary name, synced and renamed; then ``current`` is replaced. A reader
therefore sees the old version or the new one, never half of either. Retraining adds a version; old ones stay
until pruned by hand. Names that begin with a dot are not runs: states of runs in training, sweeps, the index.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from grokfast.errors import StoreError
from grokfast.store.atomic import sha256_of, sync, write_atomically, write_json

Arrays = Mapping[str, NDArray[Any]]

STORE_FORMAT = 1
"""Version of the layout; a store of a later one is refused with advice."""

_DRAFTS_LIVE = 3600.0  # seconds after which a draft has been left behind by a killed process
_SETTLED = 60.0  # seconds within which a run's first publication may be between its two renames


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
            probe.write_text("probe")
            probe.unlink()
            self.check_format()
            if not (self.root / "store.json").exists():
                write_json(self.root / "store.json", {"format": STORE_FORMAT})
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"the store folder {self.root} must be writable: {error.strerror or error}; choose another with --runs"
            ) from error

    def check_format(self) -> None:
        """Raise if a later version of grokfast wrote this store.

        Raises:
            StoreError: If so, or if ``store.json`` is damaged.
        """
        file = self.root / "store.json"
        try:
            found = json.loads(file.read_text())["format"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f'{file} is damaged ({error!r}): expected {{"format": {STORE_FORMAT}}}; '
                "remove it if the folder was written by this version of grokfast"
            ) from error
        if not isinstance(found, int) or found > STORE_FORMAT:
            raise StoreError(
                f"the store {self.root} has format {found!r}, this grokfast knows up to {STORE_FORMAT}: "
                "upgrade with `pip install -U grokfast`"
            )

    def has(self, key: str) -> bool:
        """Whether a published run with this key exists."""
        return (self.root / key / "current").is_file()

    def publish(self, key: str, record: Mapping[str, Any], history: Arrays, tensors: Mapping[str, Arrays]) -> Path:
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
            _write_parquet(draft / "history.parquet", history)
            for name, arrays in tensors.items():
                save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, draft / f"{name}.safetensors")
            files = {file.name: _seal(file) for file in sorted(draft.iterdir())}
            write_json(draft / "run.json", {**record, "files": files}, durable=False)
            digest = sha256_of(draft / "run.json")
            for file in draft.iterdir():
                sync(file)
            sync(draft)
            draft.rename(home / version)
            write_atomically(home / "current", lambda pointer: pointer.write_text(f"{version}\n{digest}\n"))
            if not (self.root / "store.json").exists():
                write_json(self.root / "store.json", {"format": STORE_FORMAT})
            _remove_drafts(home)
        except (OSError, SafetensorError, duckdb.Error) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise StoreError(f"run {key} could not be written to {self.root}: {error}") from error
        return home / version

    def path(self, key: str) -> Path:
        """Folder of the current version of a run.

        Raises:
            StoreError: If there is no such run or its folder is gone.
        """
        folder = self.root / key / self._pointer(key)[0]
        if not (folder / "run.json").is_file():
            raise StoreError(f"run {key} in {self.root} is damaged: {folder} has no run.json")
        return folder

    def _pointer(self, key: str) -> tuple[str, str | None]:
        file = self.root / key / "current"
        try:
            lines = file.read_text().split()
        except FileNotFoundError as error:
            raise StoreError(f"no run {key} in {self.root}") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} is damaged: {error}") from error
        if not 1 <= len(lines) <= 2:
            raise StoreError(f"{file} is damaged: expected a version and a checksum, found {len(lines)} words")
        return lines[0], lines[1] if len(lines) == 2 else None

    def check(self, key: str) -> None:
        """Compare every file of a run with the size and checksum it was published with.

        Args:
            key: Name of the run.

        Raises:
            StoreError: If there is no such run, or a file is missing or damaged; the message names it.
        """
        folder, digest = self.path(key), self._pointer(key)[1]
        file = folder / "run.json"
        try:
            if digest is not None and sha256_of(file) != digest:
                raise StoreError(f"{file} is damaged: its checksum is not the one it was published with")
            for name, seal in self._contents(key).get("files", {}).items():
                file = folder / name
                if file.stat().st_size != seal["bytes"] or sha256_of(file) != seal["sha256"]:
                    raise StoreError(f"{file} is damaged: its checksum is not the one it was published with")
        except StoreError:
            raise
        except (OSError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{file} is missing or damaged: {error}") from error

    def run_keys(self) -> Iterator[str]:
        """Keys of all published runs, sorted.

        Raises:
            StoreError: If there is no such folder, or a later version of grokfast wrote it.
        """
        self.check_readable()
        for home in sorted(self.root.iterdir()):
            if not home.name.startswith(".") and (home / "current").is_file():
                yield home.name

    def check_readable(self) -> None:
        """Raise if the folder is missing, or a later version of grokfast wrote it."""
        if not self.root.is_dir():
            raise StoreError(f"expected a folder of runs, but {self.root} is not a folder; `grokfast train` makes one")
        self.check_format()

    def is_orphan(self, key: str) -> bool:
        """Whether a folder holds published versions of a run but has lost its file ``current``."""
        home = self.root / key
        return (
            not (home / "current").exists()
            and any(home.glob("v*/run.json"))
            and time.time() - home.stat().st_mtime > _SETTLED
        )

    def record(self, key: str) -> dict[str, Any]:
        """The record that a run was published with.

        Raises:
            StoreError: If it is missing or not valid JSON.
        """
        return {name: value for name, value in self._contents(key).items() if name != "files"}

    def _contents(self, key: str) -> dict[str, Any]:
        file = self.path(key) / "run.json"
        try:
            found = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise StoreError(f"{file} is damaged: expected a JSON object")
        return found

    def history(self, key: str, columns: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Columns of ``history.parquet``, all or those named; null is NaN."""
        file = self.path(key) / "history.parquet"
        try:
            with duckdb.connect() as connection:
                names = "*" if columns is None else ", ".join(_quoted(name) for name in columns)
                query = f"SELECT {names} FROM read_parquet(?) ORDER BY epoch"
                found = connection.execute(query, [str(file)]).fetchnumpy()
        except duckdb.Error as error:
            raise StoreError(f"{file} is damaged or lacks a column: {error}") from error
        return {name: _filled(values) for name, values in found.items()}

    def tensors(self, key: str, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of one safetensors file of a run."""
        file = self.path(key) / f"{name}.safetensors"
        try:
            return load_file(file)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{file} is missing or damaged: {error}") from error


def _filled(values: Any) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(values), np.nan, values.data.astype(np.float64))
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


def _seal(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}


def _remove_drafts(home: Path) -> None:
    """Remove what killed processes left behind long ago."""
    for draft in home.glob(".tmp-*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _DRAFTS_LIVE:
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink()

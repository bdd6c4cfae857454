"""Run directories: one folder a run, published whole or not at all, readable by many machines at once.

Layout of a store::

    ROOT/store.json                  version of this layout
    ROOT/<key>/current               version in force and SHA-256 of its run.json (replaced atomically)
    ROOT/<key>/<version>/run.json    configuration, status, summary, versions, host; size and SHA-256 of
                                     the other files
    ROOT/<key>/<version>/history.parquet
    ROOT/<key>/<version>/<name>.safetensors

A version is written under a temporary name, synced and renamed; then ``current`` is replaced. A reader
therefore sees the old version or the new one, never half of either. Retraining adds a version, which takes over what
only the one in force saw if both are the same to the bit; old ones stay until :func:`prune_versions`. Names that begin
with a dot are not runs: states of runs in training, sweeps, the index.

Records of the first schema are read as records of the second; their folders keep their names, and are found by their
new keys too (:mod:`grokfast.store.homes`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from grokfast.errors import ChangedError, StoreError
from grokfast.store.atomic import make_folder, sha256_of
from grokfast.store.homes import Homes
from grokfast.store.layout import STORE_FORMAT, check_format, check_writable, format_of, write_format
from grokfast.store.lock import waiting
from grokfast.store.merge import Arrays, Content, merged, same_bits
from grokfast.store.parquet import read_history
from grokfast.store.schema1 import renamed_columns, upgraded
from grokfast.store.validity import check_record
from grokfast.store.version import remove_drafts, write_version

FAMILIES = ".families"
"""Folder of a store that says which runs differ in their number of epochs alone."""

ANY: Any = object()

_SETTLED = 60.0  # seconds within which a run's first publication may be between its two renames


class Store:
    """A folder of runs.

    Args:
        root: The folder; created at the first publication.
    """

    def __init__(self, root: str | Path) -> None:
        try:
            self.root = Path(root).expanduser()
        except RuntimeError as error:
            raise StoreError(f"the store folder {root} begins with a user that has no home folder: {error}") from error
        self._homes = Homes(self.root)

    def check_writable(self) -> None:
        """Raise now, before hours of training, if nothing can be written here.

        Raises:
            StoreError: If the folder cannot be created or written to.
        """
        check_writable(self.root)

    def check_readable(self) -> None:
        """Raise if the folder is missing, or a later version of grokfast wrote it."""
        if not self.root.is_dir():
            raise StoreError(f"expected a folder of runs, but {self.root} is not a folder; `grokfast train` makes one")
        self.check_format()

    def check_format(self) -> None:
        """Raise if a later version of grokfast wrote this store.

        Raises:
            StoreError: If so, or if ``store.json`` is damaged.
        """
        check_format(self.root)

    def format(self) -> int | None:
        """Version of the layout that ``store.json`` tells; None if there is no such file.

        Raises:
            StoreError: If the file is damaged.
        """
        return format_of(self.root)

    def home(self, key: str) -> Path:
        """Folder of a run with all its versions, which may bear an earlier key's name; it need not exist."""
        home = self.root / key
        if home.name != key or key.startswith("."):
            raise StoreError(f"expected the key of a run, got {key!r}")
        if (home / "current").exists():
            return home
        try:
            old = self.format()
        except StoreError:
            old = 1
        key = self._homes.renamed(key)
        if old == STORE_FORMAT or (self.root / key / "current").exists():
            return self.root / key
        return self.root / (self._homes.folder_of(key) or key)

    def rename(self, names: Mapping[str, str]) -> None:
        """Remember under which keys runs go on, by their old names, once the folders of these are gone.

        Raises:
            OSError: If that cannot be written.
        """
        self._homes.rename(names)

    def old_groups(self) -> dict[str, list[str]]:
        """Folders by the key of what they hold, the one that stands for it first; those unread by an empty key.

        For stores of the first format.
        """
        return self._homes.groups()

    def others(self, key: str) -> list[str]:
        """Names of further runs of the first schema that are the same training as a run; an upgrade joins them."""
        return [] if self.format() == STORE_FORMAT else self._homes.others(key)

    def has(self, key: str) -> bool:
        """Whether a published run with this key exists."""
        return (self.home(key) / "current").is_file()

    def version(self, key: str) -> str | None:
        """Name of the version in force; None if there is no run, or it cannot be read."""
        try:
            return self.path(key).name
        except StoreError:
            return None

    def relatives(self, family: str) -> list[tuple[int, str]]:
        """Epochs and keys of the runs that differ from each other in their number of epochs alone, shortest first."""
        found = self._homes.relatives(family) if self.format() == 1 else []
        with suppress(OSError, ValueError):
            for entry in (self.root / FAMILIES / family).iterdir():
                epochs, _, key = entry.name.partition("-")
                if self.has(key):
                    found.append((int(epochs), key))
        return sorted(set(found))

    def publish(
        self,
        key: str,
        record: Mapping[str, Any],
        history: Arrays,
        tensors: Mapping[str, Arrays],
        *,
        after: str | None = ANY,
    ) -> Path:
        """Write a run and make it the current version of its key.

        If the version in force is the same training to the bit (:func:`grokfast.store.merge.same_bits`), what only it
        saw is taken over.

        Args:
            key: Name of the run.
            record: JSON values for ``run.json``.
            history: Columns ``[epochs]`` of ``history.parquet``; NaN becomes null.
            tensors: Arrays by name, by file (without suffix).
            after: Name of the version that is thought to be in force, or None for none; if it is another one, nothing
                is written.

        Returns:
            The run's folder.

        Raises:
            ChangedError: If another version than ``after`` is in force.
            StoreError: If anything cannot be written; nothing is left behind then and earlier versions stay.
        """
        try:
            while True:
                home = self.home(key)
                make_folder(home)
                with waiting(home / ".lock"):
                    if self.home(key) == home:  # an upgrade may have moved it meanwhile
                        folder = self._publish(home, key, Content(record, history, tensors), after)
                        break
            remove_drafts(home)
            self.note_family(key, record)
        except StoreError:
            raise
        except (OSError, SafetensorError, duckdb.Error) as error:
            raise StoreError(f"run {key} could not be written to {self.root}: {error}") from error
        return folder

    def _publish(self, home: Path, key: str, content: Content, after: str | None) -> Path:
        if after is not ANY and self.version(key) != after:
            raise ChangedError(f"run {key} in {self.root} was published again meanwhile")
        earlier = self.content(key)
        if earlier is not None and same_bits(earlier, content):
            content = merged(earlier, content)
        if home.name != key:  # one of the first schema's, which keeps its name
            content = replace(content, record={**content.record, "folder": home.name})
        write_format(self.root)
        return write_version(home, content)

    def is_same(self, key: str, content: Content) -> bool:
        """Whether the version in force is whole and the same training to the bit."""
        earlier = self.content(key)
        return earlier is not None and same_bits(earlier, content)

    def content(self, key: str) -> Content | None:
        """Everything of the version in force; None if there is none that is whole."""
        try:
            self.check(key)
            record = self.record(key)
            files = [file.stem for file in self.path(key).glob("*.safetensors")]
            return Content(record, self.history(key), {name: self.tensors(key, name) for name in files})
        except StoreError:
            return None

    def note_family(self, key: str, record: Mapping[str, Any]) -> None:
        """Say of what family a run is, for :meth:`relatives`; where that cannot be written, that alone is lost."""
        if "family" in record:
            folder = self.root / FAMILIES / record["family"]
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{record['config']['epochs']}-{key}").touch()

    def path(self, key: str) -> Path:
        """Folder of the current version of a run.

        Raises:
            StoreError: If there is no such run or its folder is gone.
        """
        folder = self.home(key) / self._pointer(key)[0]
        if not (folder / "run.json").is_file():
            raise StoreError(f"run {key} in {self.root} is damaged: {folder} has no run.json")
        return folder

    def _pointer(self, key: str) -> tuple[str, str | None]:
        file = self.home(key) / "current"
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

    def is_orphan(self, key: str) -> bool:
        """Whether a folder holds published versions of a run but has lost its file ``current``."""
        home = self.root / key
        return (
            not (home / "current").exists()
            and any(home.glob("v*/run.json"))
            and time.time() - home.stat().st_mtime > _SETTLED
        )

    def record(self, key: str) -> dict[str, Any]:
        """The record that a run was published with, as the second schema has it.

        Its ``key`` is the run's name in this store: that of its folder, where another run stands for the new key.

        Raises:
            StoreError: If it is missing, not valid JSON, or damaged.
        """
        raw = {name: value for name, value in self._contents(key).items() if name != "files"}
        home = self.home(key).name
        if "schema" in raw and raw.pop("folder", raw.get("key")) != home:
            raise StoreError(f"run.json of run {home} is damaged: it belongs to run {raw.get('key')}")
        record = upgraded(raw)
        if "key" in record and record["key"] != home:
            record["key"] = self.key_in(home)
        if "schema" in record:
            check_record(record)
        return record

    def key_in(self, folder: str) -> str:
        """The key that stands for what a folder holds: its name, unless it bears one of the first schema."""
        return folder if self.format() == STORE_FORMAT else self._homes.key_of(folder) or folder

    def _contents(self, key: str) -> dict[str, Any]:
        file = self.path(key) / "run.json"
        try:
            found = json.loads(file.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{file} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise StoreError(f"{file} is damaged: expected a JSON object")
        return found

    def history(self, key: str, columns: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Columns of ``history.parquet``, all or those named; null is NaN."""
        file = self.path(key) / "history.parquet"
        try:
            return read_history(file, columns, renamed_columns(self._contents(key)))
        except duckdb.Error as error:
            raise StoreError(f"{file} is damaged or lacks a column: {error}") from error

    def tensors(self, key: str, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of one safetensors file of a run."""
        file = self.path(key) / f"{name}.safetensors"
        try:
            return load_file(file)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{file} is missing or damaged: {error}") from error

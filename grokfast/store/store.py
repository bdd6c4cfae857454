"""Run directories: one folder a run, published whole or not at all, readable by many machines at once.

Layout of a store::

    ROOT/store.json                  version of this layout
    ROOT/<key>/current               version in force and SHA-256 of its run.json (replaced atomically)
    ROOT/<key>/<version>/run.json    configuration, status, summary, versions, host; size and SHA-256 of
                                     the other files
    ROOT/<key>/<version>/history.parquet
    ROOT/<key>/<version>/<name>.safetensors

Whatever is read is compared with its checksum first (:mod:`grokfast.store.sealed`): a changed bit is an error, never
another value. What was published before there were checksums is read as it is.

A version is written under a temporary name, synced and renamed; then ``current`` is replaced. A reader
therefore sees the old version or the new one, never half of either. Retraining adds a version, which takes over what
only the one in force saw if both are the same to the bit; old ones stay until :func:`prune_versions`. Names that begin
with a dot are not runs: states of runs in training, sweeps, the index.

Records of the first schema are read as records of the second; their folders keep their names, and are found by their
new keys too (:mod:`grokfast.store.homes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
from numpy.typing import NDArray
from safetensors import SafetensorError

from grokfast.errors import ChangedError, StoreError
from grokfast.store.atomic import make_folder
from grokfast.store.families import family_members, note_family
from grokfast.store.homes import Homes
from grokfast.store.layout import STORE_FORMAT, check_format, check_writable, format_of, write_format
from grokfast.store.lock import waiting
from grokfast.store.merge import Arrays, Content, merged, same_bits
from grokfast.store.parquet import read_history
from grokfast.store.schema1 import renamed_columns, upgraded
from grokfast.store.sealed import check_file, in_force, read_arrays, read_contents, seals_of
from grokfast.store.validity import check_record
from grokfast.store.version import remove_drafts, write_version

ANY: Any = object()


class Store:
    """A folder of runs.

    Args:
        root: The folder; created at the first publication.
        verify: Whether what is read is compared with its checksum; without, damage may be read as other values.
        named: What the user called it, for messages, where that is not ``root``: packed runs lie unpacked elsewhere.
    """

    def __init__(self, root: str | Path, *, verify: bool = True, named: Path | None = None) -> None:
        if "\0" in str(root):
            raise StoreError(f"the name of a store's folder holds no zero byte, got {str(root)!r}")
        try:
            self.root = Path(root).expanduser()
        except RuntimeError as error:
            raise StoreError(f"the store folder {root} begins with a user that has no home folder: {error}") from error
        self.named = self.root if named is None else named
        self._homes = Homes(self.root)
        self._verify = verify

    def check_writable(self) -> None:
        """Raise now, before hours of training, if nothing can be written here (StoreError)."""
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
        """Version of the layout that ``store.json`` tells (StoreError if it is damaged); None if there is none."""
        return format_of(self.root)

    def _is_old(self) -> bool:
        """Whether folders may bear keys of the first schema; where ``store.json`` is damaged, they may."""
        try:
            return self.format() != STORE_FORMAT
        except StoreError:
            return True

    def home(self, key: str) -> Path:
        """Folder of a run with all its versions, which may bear an earlier key's name; it need not exist."""
        home = self.root / key
        if home.name != key or key.startswith("."):
            raise StoreError(f"expected the key of a run, got {key!r}")
        if (home / "current").exists():
            return home
        key = self._homes.renamed(key)
        if not self._is_old() or (self.root / key / "current").exists():
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
        return self._homes.others(key) if self._is_old() else []

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
        found = self._homes.relatives(family) if self._is_old() else []
        return sorted({*found, *((epochs, key) for epochs, key in family_members(self.root, family) if self.has(key))})

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
        content, folder = Content(record, history, tensors), None
        try:
            while folder is None:
                home = self.home(key)
                make_folder(home)
                with waiting(home / ".lock"):
                    if self.home(key) == home:  # an upgrade may have moved it meanwhile
                        folder = self._publish(home, key, content, after)
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
            note_family(self.root, record["family"], record["config"]["epochs"], key)

    def path(self, key: str) -> Path:
        """Folder of the current version of a run.

        Raises:
            StoreError: If there is no such run or its folder is gone.
        """
        return in_force(self.home(key)).folder

    def check(self, key: str) -> bool:
        """Compare every file of a run with the size and checksum it was published with.

        Args:
            key: Name of the run.

        Returns:
            Whether there were checksums to compare with: early versions of grokfast published none.

        Raises:
            StoreError: If there is no such run, or a file is missing or damaged; the message names it.
        """
        version = in_force(self.home(key))
        seals = seals_of(read_contents(version))
        for name in seals or ():
            check_file(version.folder / name, seals)
        return version.digest is not None and seals is not None

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
        return (self._homes.key_of(folder) if self._is_old() else None) or folder

    def _contents(self, key: str) -> dict[str, Any]:
        return read_contents(in_force(self.home(key)), verify=self._verify)

    def _file(self, key: str, name: str) -> tuple[Path, dict[str, Any]]:
        """A file of the version in force, compared with its seal, and the contents of ``run.json``."""
        version = in_force(self.home(key))
        contents = read_contents(version, verify=self._verify)
        file = version.folder / name
        if self._verify:
            check_file(file, seals_of(contents))
        return file, contents

    def history(self, key: str, columns: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Columns of ``history.parquet``, all or those named; null is NaN.

        Raises:
            StoreError: If the run, the file or a column is missing, or damaged.
        """
        file, contents = self._file(key, "history.parquet")
        try:
            return read_history(file, columns, renamed_columns(contents))
        except (duckdb.Error, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{file} is damaged or lacks a column: {error}") from error

    def tensors(self, key: str, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of one safetensors file of a run.

        Raises:
            StoreError: If the run or the file is missing, or damaged.
        """
        return read_arrays(self._file(key, f"{name}.safetensors")[0])

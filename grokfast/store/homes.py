"""Which folder of a store a run lies in, where that is not simply its key.

Stores of the first format hold runs whose folders are named by keys of the first schema. They stay where they are;
here is found what the second schema calls them. What was read is kept in ``ROOT/.homes.json`` where that can be
written, and compared with each folder's ``current``. ``ROOT/.renamed.json`` says under which key an old name went on
after ``grokfast runs --upgrade``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from grokfast.errors import StoreError
from grokfast.store.atomic import read_sealed, write_sealed
from grokfast.store.schema1 import upgraded
from grokfast.store.sealed import in_force, read_contents

HOMES = ".homes.json"
RENAMED = ".renamed.json"


class Homes:
    """The folders of a first-format store by key; read again when the store's folder has changed.

    Args:
        root: The store.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: int | None = None
        self._keys: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._families: dict[str, tuple[str, int]] = {}
        self._renamed_at: int | None = None
        self._renamed: dict[str, str] = {}
        self._unread: list[str] = []
        self._still = False

    def folder_of(self, key: str) -> str | None:
        """Name of the folder that holds a run; None if no old one does."""
        self._refresh()
        return self._folders.get(key)

    def key_of(self, folder: str) -> str | None:
        """The key of what a folder holds; None if another folder stands for that key, or it cannot be read."""
        self._refresh()
        key = self._keys.get(folder)
        return key if key is not None and self._folders.get(key) == folder else None

    def others(self, key: str) -> list[str]:
        """Folders that hold the training of a key, but for the one that stands for it."""
        self._refresh()
        return sorted(name for name, held in self._keys.items() if held == key and self._folders.get(key) != name)

    def renamed(self, key: str) -> str:
        """The key under which a run goes on after an upgrade; the key itself if it was not renamed."""
        try:
            now = (self._root / RENAMED).stat().st_mtime_ns
        except OSError:
            return key
        if now != self._renamed_at:
            file = self._root / RENAMED
            try:
                found = read_sealed(file, need=False)
            except (OSError, ValueError) as error:
                raise StoreError(
                    f"{file} is damaged: {error}; it says under which keys runs go on after `grokfast runs --upgrade`: "
                    "without it they have only their new keys, so remove it, or restore it from a copy"
                ) from error
            # Earlier versions wrote the names alone.
            names = found.get("names", found)
            self._renamed, self._renamed_at = {str(old): str(new) for old, new in names.items()}, now
        return self._renamed.get(key, key)

    def rename(self, names: Mapping[str, str]) -> None:
        """Remember that runs go on under other keys once their folders are gone; nothing is read again meanwhile.

        Args:
            names: New keys by old names.

        Raises:
            OSError: If that cannot be written.
        """
        self.renamed("")
        write_sealed(self._root / RENAMED, {"names": {**self._renamed, **names}})
        self._still = True

    def relatives(self, family: str) -> list[tuple[int, str]]:
        """Epochs and keys of the runs of a family."""
        self._refresh()
        return [(epochs, key) for key, (of, epochs) in self._families.items() if of == family]

    def groups(self) -> dict[str, list[str]]:
        """All folders by the key of what they hold, the one that stands for it first; those unread by an empty key."""
        self._refresh()
        found: dict[str, list[str]] = {}
        for folder in sorted(self._keys):
            found.setdefault(self._keys[folder], []).append(folder)
        found = {key: sorted(names, key=lambda name: self._folders[key] != name) for key, names in found.items()}
        return {**found, "": sorted(self._unread)} if self._unread else found

    def _refresh(self) -> None:
        try:
            now = self._root.stat().st_mtime_ns
        except OSError:
            now = -1
        if now == self._seen or self._still:
            return
        known, changed = self._read(), False
        entries: dict[str, list[Any]] = {}
        for folder in _folders(self._root):
            mark = _mark(self._root / folder)
            if mark is None:
                continue
            entry = known.get(folder)
            if entry is None or entry[:2] != mark:
                entry, changed = [*mark, *_about(self._root / folder)], True
            entries[folder] = entry
        self._unread = [folder for folder, entry in entries.items() if not entry[2]]
        self._keys = {folder: entry[2] for folder, entry in entries.items() if entry[2]}
        self._folders = {}
        # A folder that bears its key's name stands for it; else the one that saw most, the first by name.
        for folder, key in sorted(self._keys.items(), key=lambda it: (it[0] != it[1], -entries[it[0]][3], it[0])):
            self._folders.setdefault(key, folder)
        self._families = {entry[2]: (entry[4], entry[5]) for entry in entries.values() if entry[2]}
        if changed:
            with suppress(OSError):
                write_sealed(self._root / HOMES, {"folders": entries}, durable=False)
        with suppress(OSError):
            now = self._root.stat().st_mtime_ns
        self._seen = now

    def _read(self) -> Mapping[str, list[Any]]:
        try:
            found = read_sealed(self._root / HOMES)["folders"]
            kinds = (int, int, str, int, str, int)
            return {
                str(folder): [kind(value) for kind, value in zip(kinds, entry, strict=True)]
                for folder, entry in found.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            return {}  # missing, damaged or an earlier version's: made anew


def _folders(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def _mark(home: Path) -> list[Any] | None:
    try:
        pointer = os.stat(home / "current")
    except OSError:
        return None
    return [pointer.st_ino, pointer.st_mtime_ns]


def _about(home: Path) -> list[Any]:
    """Key of the version in force, how much it looked at, family and epochs; an empty key if it cannot be read."""
    try:
        record = upgraded(read_contents(in_force(home)))
        looks = record.get("looks", {})
        weight = sum(len(str(part)) for name in looks for part in looks[name]) + 1000 * len(looks)
        family, epochs = str(record.get("family", "")), int(record.get("config", {}).get("epochs", 0))
        return [str(record["key"]), weight if record.get("status") != "failed" else -1, family, epochs]
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, StoreError):
        return ["", 0, "", 0]

"""A recording disk: every call that changes a folder, what is on disk for certain, and a power cut after any."""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class PowerCutError(BaseException):
    """The machine is off."""


class Disk:
    """Watches a folder while it is written.

    Args:
        root: The folder; what is there now counts as on disk.
        limit: Calls after which the power is cut; none if it is None.

    Attributes:
        events: Name of the call and path below the folder, in order.
    """

    def __init__(self, root: Path, limit: int | None = None) -> None:
        self.root, self.limit = root, limit
        self.events: list[tuple[str, str]] = []
        self._off = False
        self._files: dict[int, bytes] = {}
        self._folders: dict[int, dict[str, int]] = {}
        self._pins: list[int] = []
        for place in [root, *root.rglob("*")]:
            self._settle(os.open(place, os.O_RDONLY))

    def close(self) -> None:
        for pin in self._pins:
            os.close(pin)

    def _settle(self, handle: int) -> None:
        """What is behind a handle is on disk. The handle stays open, so that no later file gets its inode."""
        self._pins.append(handle)
        about, place = os.fstat(handle), os.readlink(f"/proc/self/fd/{handle}")
        if stat.S_ISDIR(about.st_mode):
            with os.scandir(place) as entries:
                self._folders[about.st_ino] = {entry.name: entry.inode() for entry in entries}
        else:
            self._files[about.st_ino] = Path(place).read_bytes()

    def _below(self, place: Any, folder: int | None = None) -> str | None:
        base = os.readlink(f"/proc/self/fd/{folder}") if folder is not None else os.getcwd()
        path = os.path.join(base, os.fspath(place))
        return os.path.relpath(path, self.root) if path.startswith(str(self.root)) else None

    def _note(self, call: str, place: str) -> None:
        self.events.append((call, place))
        if self.limit is not None and len(self.events) >= self.limit:
            self._off = True

    def left(self, target: Path, *, names: bool, contents: bool) -> Path:
        """What is found after a power cut.

        Args:
            target: Where to put it.
            names: Whether names that no fsync of their folder made safe are there.
            contents: Whether contents that no fsync made safe are there; otherwise such files are empty.
        """
        self._restore(self.root.stat().st_ino, self.root, target, names, contents)
        return target

    def _restore(self, inode: int, place: Path, target: Path, names: bool, contents: bool) -> None:
        target.mkdir()
        now = {entry.inode(): Path(entry.path) for entry in _entries(self.root)}
        inside = {e.name: e.inode() for e in os.scandir(place)} if names else self._folders.get(inode, {})
        for name, number in inside.items():
            where = now.get(number)
            if number in self._folders or (where is not None and where.is_dir()):
                self._restore(number, where or place / name, target / name, names, contents)
            elif contents and where is not None:
                shutil.copyfile(where, target / name)
            else:
                (target / name).write_bytes(self._files.get(number, b""))

    @contextmanager
    def watched(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record calls, and cut the power after the last allowed one."""
        real = {name: getattr(os, name) for name in ("open", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir")}
        real_open = io.open

        def alive() -> None:
            if self._off:
                raise PowerCutError

        def os_open(path: Any, flags: int, *more: Any, dir_fd: int | None = None, **others: Any) -> int:
            handle: int = real["open"](path, flags, *more, dir_fd=dir_fd, **others)
            place = self._below(path, dir_fd)
            if place is not None and flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                if self._off:
                    os.close(handle)
                    raise PowerCutError
                self._note("open", place)
            return handle

        def fsync(handle: int) -> None:
            alive()
            real["fsync"](handle)
            place = self._below(os.readlink(f"/proc/self/fd/{handle}"))
            if place is not None:
                self._settle(os.dup(handle))
                self._note("fsync", place)

        def moving(name: str) -> Any:
            def call(old: Any, new: Any, **more: Any) -> None:
                alive()
                real[name](old, new, **more)
                place = self._below(new)
                if place is not None:
                    self._note("rename", place)

            return call

        def changing(name: str) -> Any:
            def call(path: Any, *more: Any, dir_fd: int | None = None, **others: Any) -> None:
                alive()
                real[name](path, *more, dir_fd=dir_fd, **others)
                place = self._below(path, dir_fd)
                if place is not None:
                    self._note(name, place)

            return call

        def opening(file: Any, mode: str = "r", *more: Any, **others: Any) -> Any:
            writes = any(letter in mode for letter in "wxa+")
            place = self._below(file) if writes and not isinstance(file, int) else None
            if place is not None:
                alive()
            opened = real_open(file, mode, *more, **others)
            if place is not None:
                self._note("open", place)
            return opened

        with patch.context() as inner:
            inner.setattr(os, "open", os_open)
            inner.setattr(os, "fsync", fsync)
            for name in ("rename", "replace"):
                inner.setattr(os, name, moving(name))
            for name in ("mkdir", "unlink", "rmdir"):
                inner.setattr(os, name, changing(name))
            inner.setattr(io, "open", opening)
            yield


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in list(entries):
            yield entry
            if entry.is_dir():
                yield from _entries(Path(entry.path))

"""Locks that the system takes back when their process dies, also by SIGKILL."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from grokfast.errors import StoreError


@contextmanager
def lock(file: Path) -> Iterator[bool]:
    """Try to hold ``file`` for the time of the context, without waiting.

    Args:
        file: Made if it is missing, its folder too. The holder may delete it, its folder included.

    Yields:
        Whether the lock is ours.

    Raises:
        StoreError: If the folder cannot be written, or its file system has no locks.
    """
    handle = _open(file)
    if handle is None:
        yield False
        return
    try:
        yield True
    finally:
        os.close(handle)


@contextmanager
def waiting(file: Path) -> Iterator[None]:
    """Hold ``file`` for the time of the context; wait for whoever holds it.

    Where a file system has no locks, nothing is held: writers in the same instant are then told apart by nothing but
    the order of their renames.

    Args:
        file: Made if it is missing; its folder must be there.

    Raises:
        OSError: If it cannot be made.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_held(file: Path) -> bool:
    """Whether a live process holds ``file``; nothing is written, so that it works on a read-only store too."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False


def _open(file: Path) -> int | None:
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            continue  # the holder before us removed the folder just now
        except OSError as error:
            raise StoreError(f"{file} cannot be written: {error.strerror or error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(handle, file):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise StoreError(
                    f"the file system of {file.parent} has no file locks, which keep two processes off one "
                    "shard: mount it with them (Lustre: -o flock), or put the store elsewhere"
                ) from error
            raise StoreError(f"{file} cannot be locked: {error.strerror or error}") from error
        os.close(handle)  # it was deleted between opening and locking: try the new one


def _is(handle: int, file: Path) -> bool:
    try:
        there = os.stat(file)
    except FileNotFoundError:
        return False
    ours = os.fstat(handle)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

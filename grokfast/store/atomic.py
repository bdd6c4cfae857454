"""Files that are there whole or not at all, and their checksums."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grokfast.checksums import digest_of
from grokfast.errors import StoreError


def sync(path: Path) -> None:
    """Force a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, on disk when this returns."""
    missing = [folder, *folder.parents]
    missing = missing[: next((k for k, place in enumerate(missing) if place.is_dir()), len(missing))]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync(place.parent)


def write_atomically(file: Path, write: Callable[[Path], object], *, durable: bool = True) -> None:
    """Make ``file`` by way of a temporary name beside it: a reader sees the old file or the new one.

    Args:
        file: The file to make or replace.
        write: Writes the file whose path it is given.
        durable: Whether to wait until it is on disk.

    Raises:
        OSError: If it cannot be written; the temporary file is removed then and the old one stays.
    """
    draft = file.with_name(f".tmp-{secrets.token_hex(4)}-{file.name}")
    try:
        write(draft)
        if durable:
            sync(draft)
        draft.replace(file)
        if durable:
            sync(file.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_page(file: Path, text: str) -> None:
    """Write a text that people read, in one step; its folder is made.

    Raises:
        StoreError: If it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda draft: draft.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror or error}") from error


def write_json(file: Path, values: Any, *, durable: bool = True) -> None:
    """Write JSON atomically."""
    text = json.dumps(values, indent=1, sort_keys=True) + "\n"
    write_atomically(file, lambda draft: draft.write_text(text), durable=durable)


def write_sealed(file: Path, values: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write a JSON object atomically, with its checksum as ``sha256``."""
    write_json(file, {**values, "sha256": digest_of(values)}, durable=durable)


def read_sealed(file: Path, *, need: bool = True) -> dict[str, Any]:
    """The object that :func:`write_sealed` wrote.

    Args:
        file: Which.
        need: Whether it must have a checksum; otherwise one without, of an earlier version, is taken as it is.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON object, or not the one that was written.
    """
    try:
        found = json.loads(file.read_text())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object")
    digest = found.pop("sha256", None)
    if digest != digest_of(found) and (need or digest is not None):
        raise ValueError("its checksum is not the one it was written with")
    return found

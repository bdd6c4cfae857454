"""The folder of a store as a whole: which version of the layout it has, and whether it can be written."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from grokfast.errors import StoreError
from grokfast.store.atomic import write_json

STORE_FORMAT = 2
"""Version of the layout: stores of the first may hold runs of the first schema. One of a later is refused."""


def format_of(root: Path) -> int | None:
    """Version of the layout that ``store.json`` tells; None if there is no such file.

    Raises:
        StoreError: If the file is damaged.
    """
    file = root / "store.json"
    try:
        found = json.loads(file.read_text())["format"]
        if isinstance(found, bool) or not isinstance(found, int):
            raise TypeError(found)
        if found < 1:
            raise ValueError(found)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f'{file} is damaged ({error!r}): expected {{"format": {STORE_FORMAT}}}; '
            "remove it if the folder was written by this version of grokfast"
        ) from error
    return found


def check_format(root: Path) -> None:
    """Raise if a later version of grokfast wrote a store.

    Raises:
        StoreError: If so, or if ``store.json`` is damaged.
    """
    found = format_of(root)
    if found is not None and found > STORE_FORMAT:
        raise StoreError(
            f"the store {root} has format {found!r}, this grokfast knows up to {STORE_FORMAT}: "
            "upgrade with `pip install -U grokfast`"
        )


def write_format(root: Path) -> None:
    """Write ``store.json`` where it is missing.

    Raises:
        OSError: If it cannot be written.
    """
    if (root / "store.json").exists():
        return
    # A folder that has lost the file may hold runs of the first schema.
    old = any((home / "current").exists() for home in root.iterdir() if not home.name.startswith("."))
    write_json(root / "store.json", {"format": 1 if old else STORE_FORMAT})


def check_writable(root: Path) -> None:
    """Raise if nothing can be written to a store; its folder is made if it is missing.

    Raises:
        StoreError: If the folder cannot be created or written to, or a later version of grokfast wrote it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".probe-{secrets.token_hex(4)}"
        try:
            probe.write_text("probe")
        finally:
            probe.unlink(missing_ok=True)
        check_format(root)
        write_format(root)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"the store folder {root} must be writable: {error.strerror or error}; choose another with --runs"
        ) from error

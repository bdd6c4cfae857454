"""Which runs differ from each other in their number of epochs alone: an empty file each, named by both."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

FAMILIES = ".families"
"""Folder of a store that holds a folder for each family."""


def note_family(root: Path, family: str, epochs: int, key: str) -> None:
    """Say of what family a run is; where that cannot be written, that alone is lost."""
    with suppress(OSError):
        folder = root / FAMILIES / family
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{epochs}-{key}").touch()


def family_members(root: Path, family: str) -> list[tuple[int, str]]:
    """Epochs and keys of the runs that were said to be of a family."""
    found: list[tuple[int, str]] = []
    with suppress(OSError, ValueError):
        for entry in (root / FAMILIES / family).iterdir():
            epochs, _, key = entry.name.partition("-")
            found.append((int(epochs), key))
    return found

"""Reading the files of a published version: their bytes are the ones that were published, or an error names the file.

``current`` holds the SHA-256 of ``run.json``, which holds size and SHA-256 of the other files. What early versions of
grokfast published has neither, or no list of files: such files are read as they are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load_file

from grokfast.checksums import sha256_of
from grokfast.errors import StoreError

RECORD = "run.json"
_SETTLED = 60.0  # seconds within which a run's first publication may be between its two renames


@dataclass(frozen=True)
class InForce:
    """The version that a run's ``current`` names.

    Attributes:
        folder: Of the version.
        digest: SHA-256 of its ``run.json``; None where an early version of grokfast published it.
    """

    folder: Path
    digest: str | None


def in_force(home: Path) -> InForce:
    """What ``current`` in a run's folder says.

    Raises:
        StoreError: If there is no such file, it is damaged, or the version that it names is not there.
    """
    file = home / "current"
    try:
        words = file.read_text().split()
    except FileNotFoundError as error:
        raise StoreError(f"no run {home.name} in {home.parent}") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} is damaged: {error}") from error
    if not 1 <= len(words) <= 2:
        raise StoreError(f"{file} is damaged: expected a version and a checksum, found {len(words)} words")
    if "/" in words[0] or words[0].startswith("."):
        raise StoreError(f"{file} is damaged: {words[0]!r} is not the name of a version")
    folder = home / words[0]
    try:
        if not (folder / RECORD).is_file():
            raise StoreError(f"run {home.name} in {home.parent} is damaged: {folder} has no {RECORD}")
    except (OSError, ValueError) as error:  # a name that no file can have
        raise StoreError(f"{file} is damaged: {error}") from error
    return InForce(folder, words[1] if len(words) == 2 else None)


def is_orphan(home: Path) -> bool:
    """Whether a run's folder holds published versions but has lost its file ``current``."""
    return (
        not (home / "current").exists()
        and any(home.glob(f"v*/{RECORD}"))
        and time.time() - home.stat().st_mtime > _SETTLED
    )


def read_contents(version: InForce, *, verify: bool = True) -> dict[str, Any]:
    """All of ``run.json``, seals of the other files among it.

    Args:
        version: Which.
        verify: Whether its checksum is compared.

    Raises:
        StoreError: If it cannot be read, is not what was published, or is no JSON object.
    """
    file = version.folder / RECORD
    try:
        if verify and version.digest is not None and sha256_of(file) != version.digest:
            raise StoreError(_changed(file))
        found = json.loads(file.read_text())
    except StoreError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{file} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise StoreError(f"{file} is damaged: expected a JSON object")
    return found


def seals_of(contents: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Size and checksum by file; None for a run that was published before there were any.

    Raises:
        StoreError: If they have another form.
    """
    seals = contents.get("files")
    if seals is not None and not isinstance(seals, Mapping):
        raise StoreError(f"run.json of run {contents.get('key')} is damaged: files must be a mapping, got {seals!r}")
    return seals


def check_file(file: Path, seals: Mapping[str, Any] | None) -> None:
    """Raise unless a file has the bytes that it was published with.

    Args:
        file: In a version's folder.
        seals: Of the version, by file; with None only its presence is checked.

    Raises:
        StoreError: If it is missing, changed or not one of the version's; the message names it.
    """
    try:
        if seals is None:
            if not file.is_file():
                raise StoreError(f"{file} is missing or damaged: no such file")
            return
        if file.name not in seals:
            raise StoreError(
                f"{'/'.join(file.parts[-3:])} is not there: the run was published without it, as summaries are without "
                "models; take the folder that it was trained in"
            )
        seal = seals[file.name]
        if file.stat().st_size != seal["bytes"] or sha256_of(file) != seal["sha256"]:
            raise StoreError(_changed(file))
    except StoreError:
        raise
    except (OSError, TypeError, KeyError) as error:
        raise StoreError(f"{file} is missing or damaged: {error}") from error


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a safetensors file by name.

    Raises:
        StoreError: If it is missing or damaged.
    """
    try:
        return load_file(file)
    except Exception as error:  # of a damaged file without a checksum the reader raises anything
        raise StoreError(f"{file} is missing or damaged: {error}") from error


def _changed(file: Path) -> str:
    return (
        f"{file} is damaged: its checksum is not the one it was published with; "
        f"`grokfast check --repair` trains the run again"
    )

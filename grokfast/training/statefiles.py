"""Files of a state folder: written with checksums, read back or named as damaged, old ones removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from grokfast.checksums import sha256_of
from grokfast.store.atomic import read_sealed

STATES_KEPT = 2
"""Newest states that stay in a folder."""


class DamagedError(Exception):
    """A state file is not what was written."""


def seal(file: Path) -> dict[str, Any]:
    """Name, size and checksum of a file."""
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256_of(file)}


def load_sealed(folder: Path, sealed: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file, compared with its seal.

    Raises:
        DamagedError: If it is not what was written.
    """
    file = folder / sealed["file"]
    try:
        if file.stat().st_size != sealed["bytes"] or sha256_of(file) != sealed["sha256"]:
            raise DamagedError(f"{file} is damaged: its checksum is not the one it was saved with")
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise DamagedError(f"{file} is damaged: {error}") from error


def read_record(file: Path) -> dict[str, Any]:
    """The record of one state.

    Raises:
        DamagedError: If it is not what was written.
    """
    try:
        return read_sealed(file)
    except (OSError, ValueError) as error:
        raise DamagedError(f"{file} is damaged: {error}") from error


def newest_record(folder: Path, epoch: int) -> dict[str, Any] | None:
    """Record of the newest state up to ``epoch`` whose checkpoints are all there, to build upon."""
    for file in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            record = read_record(file)
        except DamagedError:
            continue
        if record["epoch"] <= epoch and all(_present(folder, part) for part in record["checkpoints"]):
            return record
    return None


def _present(folder: Path, sealed: Mapping[str, Any]) -> bool:
    file = folder / sealed["file"]
    return file.is_file() and bool(file.stat().st_size == sealed["bytes"])


def remove_old(folder: Path, epoch: int) -> None:
    """Keep the newest states and the files they name; drop the rest, damaged ones and drafts included.

    States after ``epoch`` are damaged ones: training was not taken up from them.
    """
    needed: set[str] = set()
    states = 0
    for file in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            record = read_record(file)
        except DamagedError:
            continue
        if record["epoch"] > epoch or states == STATES_KEPT:
            continue
        states += 1
        needed |= {file.name, record["tensors"]["file"], *(part["file"] for part in record["checkpoints"])}
    for pattern in ("state-*", "kept-*", ".tmp-*"):
        for file in folder.glob(pattern):
            if file.name not in needed:
                file.unlink(missing_ok=True)

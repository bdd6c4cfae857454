"""What is computed from stored runs afterwards: a cache beside them that can always be made anew.

``ROOT/.measures/<folder of the run>/<name>.safetensors`` holds arrays computed from the version of a run that is in
force. Runs themselves are never touched. An entry counts only if it says that it was computed from that version of the
run and by that version of the computation, and its checksum is right; otherwise it is computed again. It is written
under a temporary name and renamed, so a reader never sees half of it; on a read-only store it is computed and not kept.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from grokfast.errors import StoreError
from grokfast.store.atomic import write_atomically
from grokfast.store.store import Store

DERIVED = ".measures"

Arrays = dict[str, NDArray[Any]]


def derived(store: Store, key: str, name: str, version: str, compute: Callable[[], Mapping[str, Any]]) -> Arrays:
    """Arrays computed from a run, read from the cache if they are there.

    Args:
        store: The store.
        key: The run.
        name: Of the entry; it becomes a file name.
        version: Names what ``compute`` does; an entry of another version is computed again.
        compute: Gives arrays by name.

    Returns:
        The arrays.

    Raises:
        StoreError: If there is no such run.
    """
    run = store.path(key).name
    found = read_derived(store, key, name, version)
    if found is not None:
        return found
    arrays = {label: np.asarray(values, order="C") for label, values in compute().items()}
    about = {"run": run, "version": version, "sha256": _digest(arrays)}
    file = _file(store, key, name)
    # A read-only store or a full disk is no reason to fail: nothing is kept then.
    with suppress(OSError, SafetensorError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            file,
            lambda draft: save_file(arrays, draft, about),
            durable=False,
        )
    return arrays


def read_derived(store: Store, key: str, name: str, version: str | None) -> Arrays | None:
    """The arrays of an entry, or None if there is none that is whole and up to date; of any version if None."""
    found = read_entry(store, key, name)
    return None if found is None or version not in (None, found[1]) else found[0]


def read_entry(store: Store, key: str, name: str) -> tuple[Arrays, str] | None:
    """The arrays of an entry of any version, and the version; None if there is none that is whole."""
    try:
        run = store.path(key).name
        with safe_open(_file(store, key, name), framework="np") as file:
            about = file.metadata() or {}
            if about.get("run") != run or "version" not in about:
                return None
            arrays = {label: file.get_tensor(label) for label in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, StoreError):
        return None
    return (arrays, about["version"]) if about.get("sha256") == _digest(arrays) else None


def derived_keys(store: Store) -> list[str]:
    """Keys of the runs from which something has been computed."""
    folder = store.root / DERIVED
    return sorted(store.key_in(entry.name) for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def move_derived(store: Store, old: Path, new: Path) -> None:
    """Take along what was computed from a version of a run that has moved, bits and all, to another.

    Args:
        store: The store.
        old: The version's folder as it was.
        new: The version's folder as it is.
    """
    before, after = store.root / DERIVED / old.parent.name, store.root / DERIVED / new.parent.name
    for file in sorted(before.glob("*.safetensors")):
        # What cannot be read or written is computed again when it is needed.
        with suppress(OSError, SafetensorError):
            with safe_open(file, framework="np") as entry:
                about = entry.metadata() or {}
                arrays = {label: entry.get_tensor(label) for label in entry.keys()}  # noqa: SIM118
            if about.get("run") != old.name or about.get("sha256") != _digest(arrays):
                continue
            after.mkdir(parents=True, exist_ok=True)
            about["run"] = new.name
            write_atomically(
                after / file.name,
                lambda draft, arrays=arrays, about=about: save_file(arrays, draft, about),  # type: ignore[misc]
                durable=False,
            )
    if before != after:
        shutil.rmtree(before, ignore_errors=True)


def derived_names(store: Store, key: str) -> list[str]:
    """Names of the entries that there are of a run."""
    return sorted(file.stem for file in (store.root / DERIVED / store.home(key).name).glob("*.safetensors"))


def _file(store: Store, key: str, name: str) -> Path:
    return store.root / DERIVED / store.home(key).name / f"{name}.safetensors"


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for label in sorted(arrays):
        values = arrays[label]
        digest.update(f"{label}:{values.dtype.str}:{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()

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

from grokfast.checksums import digest_of_arrays
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
    # A read-only store or a full disk is no reason to fail: nothing is kept then.
    with suppress(OSError, SafetensorError):
        _write(_file(store, key, name), arrays, run, version)
    return arrays


def read_derived(store: Store, key: str, name: str, version: str | None) -> Arrays | None:
    """The arrays of an entry, or None if there is none that is whole and up to date; of any version if None."""
    found = read_entry(store, key, name)
    return None if found is None or version not in (None, found[1]) else found[0]


def read_entry(store: Store, key: str, name: str) -> tuple[Arrays, str] | None:
    """The arrays of an entry of any version, and the version; None if there is none that is whole."""
    try:
        run = store.path(key).name
        about, arrays = _read(_file(store, key, name))
    except (OSError, ValueError):
        return None
    return (arrays, about["version"]) if about["run"] == run else None


def derived_damage(store: Store, key: str, name: str) -> str | None:
    """What is wrong with an entry that is there but not what was written; None if nothing is."""
    file = _file(store, key, name)
    try:
        _read(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"{file} is damaged: {error}; what it held is computed again when it is asked for"
    return None


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
        with suppress(OSError, SafetensorError, ValueError):
            about, arrays = _read(file)
            if about["run"] == old.name:
                _write(after / file.name, arrays, new.name, about["version"])
    if before != after:
        shutil.rmtree(before, ignore_errors=True)


def derived_names(store: Store, key: str) -> list[str]:
    """Names of the entries that there are of a run."""
    return sorted(file.stem for file in (store.root / DERIVED / store.home(key).name).glob("*.safetensors"))


def _file(store: Store, key: str, name: str) -> Path:
    return store.root / DERIVED / store.home(key).name / f"{name}.safetensors"


def _write(file: Path, arrays: Arrays, run: str, version: str) -> None:
    about = {"run": run, "version": version, "seal": _seal(arrays, run, version)}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda draft: save_file(arrays, draft, about), durable=False)


def _read(file: Path) -> tuple[dict[str, str], Arrays]:
    """What an entry says of itself, and its arrays.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    try:
        with safe_open(file, framework="np") as entry:
            about = entry.metadata() or {}
            arrays = {label: entry.get_tensor(label) for label in entry.keys()}  # noqa: SIM118
    except OSError:
        raise
    except Exception as error:  # of a damaged file the reader raises anything
        raise ValueError(error) from error
    if not {"run", "version"} <= about.keys():
        raise ValueError("it does not say what it was computed from")
    if "sha256" in about:  # an earlier version's, which sealed the arrays alone
        right = about["sha256"] == digest_of_arrays(arrays)
    else:
        right = about.get("seal") == _seal(arrays, about["run"], about["version"])
    if not right:
        raise ValueError("its checksum is not the one it was written with")
    return about, arrays


def _seal(arrays: Mapping[str, NDArray[Any]], run: str, version: str) -> str:
    return hashlib.sha256(f"{run}\n{version}\n{digest_of_arrays(arrays)}".encode()).hexdigest()

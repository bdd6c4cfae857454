"""A whole store looked through: every byte that has a checksum, and every file that has none read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from grokfast.errors import StoreError
from grokfast.store.atomic import read_sealed
from grokfast.store.derived import derived_damage, derived_keys, derived_names
from grokfast.store.homes import RENAMED
from grokfast.store.sealed import is_orphan
from grokfast.store.store import Store

SWEEPS = ".sweeps"
"""Folder of a store that holds a file for each of its sweeps."""


@dataclass
class Health:
    """What :func:`check_store` found.

    Attributes:
        sound: Names of run folders whose files are the ones that were published.
        unsealed: Those, published by early versions of grokfast, whose files have no checksums; they could be read.
        damaged: What is wrong, by the name of the run's folder.
        derived: What is wrong with measures of stored models, by the file that holds them.
        others: What is wrong with further files of the store, by file.
    """

    sound: list[str] = field(default_factory=list)
    unsealed: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    derived: dict[Path, str] = field(default_factory=dict)
    others: dict[Path, str] = field(default_factory=dict)

    @property
    def messages(self) -> list[str]:
        """Everything that is wrong, a line each."""
        return [*self.damaged.values(), *self.derived.values(), *self.others.values()]


def check_store(store: Store, on_run: Callable[[int, int], None] | None = None) -> Health:
    """Compare every file of the runs in force, and what lies beside them, with their checksums.

    Earlier versions of a run, which nothing reads, are not looked at; states of runs in training are checked by whoever
    takes them up. Nothing is written.

    Args:
        store: The store.
        on_run: Told after each run how many have been checked, of how many.

    Raises:
        StoreError: If there is no such folder, or a later version of grokfast wrote it.
    """
    found = Health()
    try:
        store.check_readable()
    except StoreError as error:
        file = store.root / "store.json"
        if not store.root.is_dir() or "damaged" not in str(error):
            raise
        found.others[file] = str(error)
    homes = [home for home in sorted(store.root.iterdir()) if not home.name.startswith(".") and home.is_dir()]
    for k, home in enumerate(homes, 1):
        _check_run(store, home, found)
        if on_run is not None:
            on_run(k, len(homes))
    for key in derived_keys(store):
        for name in derived_names(store, key):
            message = derived_damage(store, key, name)
            if message is not None:
                found.derived[store.root / ".measures" / store.home(key).name / f"{name}.safetensors"] = message
    for file in [store.root / RENAMED, *sorted((store.root / SWEEPS).glob("*.json"))]:
        try:
            read_sealed(file, need=False)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            found.others[file] = f"{file} is damaged: {error}"
    return found


def _check_run(store: Store, home: Path, found: Health) -> None:
    name = home.name
    if not (home / "current").exists():
        if is_orphan(home):
            found.damaged[name] = f"{home} is damaged: it holds runs but has lost its file `current`"
        return
    try:
        sealed = store.check(name)
        store.record(name)
        if not sealed:
            store.history(name)
            for file in store.path(name).glob("*.safetensors"):
                store.tensors(name, file.stem)
    except StoreError as error:
        found.damaged[name] = str(error)
        return
    (found.sound if sealed else found.unsealed).append(name)

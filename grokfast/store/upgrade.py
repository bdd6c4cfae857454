"""Rewriting stores: runs of the first schema under their new keys, and versions that are no longer in force."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from safetensors import SafetensorError

from grokfast.errors import StoreError
from grokfast.store.atomic import make_folder, sync, write_json
from grokfast.store.derived import move_derived
from grokfast.store.layout import STORE_FORMAT
from grokfast.store.lock import waiting
from grokfast.store.merge import Content, merged, same_bits
from grokfast.store.store import Store
from grokfast.store.version import write_version


@dataclass
class Upgrade:
    """What :func:`upgrade_store` did.

    Attributes:
        moved: New keys by old names of runs that lie under their new key now.
        joined: New keys by old names of runs that have joined another of the same training.
        kept: Messages on runs that stay under their old name, and why.
    """

    moved: dict[str, str] = field(default_factory=dict)
    joined: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def upgrade_store(store: Store) -> Upgrade:
    """Rewrite the runs of the first schema as the second has them, under their new keys.

    Runs that are one training now become one where their end bits are the same; where they are not, the one that saw
    most takes the key and the others keep their old names. What was computed from runs moves along; old keys are still
    found. It may be killed at any moment and called again.

    Args:
        store: The store.

    Raises:
        StoreError: If there is no such folder, or it cannot be written.
    """
    store.check_readable()
    store.check_writable()
    done = Upgrade()
    if store.format() == STORE_FORMAT:
        return done
    store = Store(store.root)  # whose view of the folders stays as it is now
    groups = store.old_groups()
    try:
        store.rename({folder: key for key, names in groups.items() for folder in names if key and folder != key})
        for key, folders in sorted(groups.items()):
            for folder in folders:
                if not key:
                    done.kept.append(f"{store.root / folder} cannot be read and stays as it is")
                elif folder != key:
                    _move(store, folder, key, done)
        if "" not in groups:
            write_json(store.root / "store.json", {"format": STORE_FORMAT})
    except (OSError, SafetensorError, duckdb.Error) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{store.root} could not be upgraded: {error}; call it again to go on") from error
    return done


def _move(store: Store, folder: str, key: str, done: Upgrade) -> None:
    old, home = store.root / folder, store.root / key
    with waiting(old / ".lock"):
        content = store.content(folder)
        if content is None:
            done.kept.append(f"{old} is damaged and stays as it is")
            return
        before = store.path(folder)
        content = Content({**content.record, "key": key}, content.history, content.tensors)
        if not (home / "current").exists():
            make_folder(home)
            version = write_version(home, content)
            done.moved[folder] = key
        else:
            found = _join(store, key, home, content)
            if found is None:
                done.kept.append(
                    f"{old} is the same training as {home} but ends with other bits: it stays under its old name"
                )
                return
            version = found
            done.joined[folder] = key
        store.note_family(key, content.record)
        move_derived(store, before, version)
        gone = store.root / f".gone-{folder}"
        shutil.rmtree(gone, ignore_errors=True)
        old.rename(gone)
        sync(store.root)
    shutil.rmtree(gone, ignore_errors=True)


def _join(store: Store, key: str, home: Path, content: Content) -> Path | None:
    """The version that holds all that both saw; None if their bits differ."""
    with waiting(home / ".lock"):
        there = store.content(key)
        if there is None or not same_bits(there, content):
            return None
        both = merged(content, there)
        new = [name for name in both.record["looks"] if both.record["looks"][name] != there.record["looks"].get(name)]
        if not new and set(both.history) <= set(there.history):
            return store.path(key)
        before = store.path(key)
        version = write_version(home, both)
        move_derived(store, before, version)
        return version


@dataclass
class Pruned:
    """What :func:`prune_versions` did.

    Attributes:
        versions: Versions removed.
        bytes: What they took.
        kept: Messages on runs whose version in force is damaged, so that their earlier ones stay.
    """

    versions: int = 0
    bytes: int = 0
    kept: list[str] = field(default_factory=list)


def prune_versions(store: Store) -> Pruned:
    """Remove the versions of runs that are no longer in force.

    Earlier versions of a run whose version in force is damaged stay, and so do drafts of writers at work.

    Args:
        store: The store.

    Raises:
        StoreError: If there is no such folder, or something cannot be removed.
    """
    store.check_readable()
    done = Pruned()
    for home in sorted(store.root.iterdir()):
        if home.name.startswith(".") or not (home / "current").is_file():
            continue
        old = [folder for folder in home.glob("v*") if folder.is_dir()]
        if len(old) < 2:
            continue
        try:
            with waiting(home / ".lock"):
                store.check(home.name)
                current = store.path(home.name).name
                for folder in old:
                    if folder.name != current:
                        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                        gone = home / f".tmp-{folder.name}"
                        folder.rename(gone)
                        shutil.rmtree(gone)
                        done.versions += 1
                        done.bytes += size
        except StoreError as error:
            done.kept.append(f"{error}; its earlier versions stay")
        except OSError as error:
            raise StoreError(f"earlier versions in {home} could not be removed: {error}") from error
    return done

"""Shards: stacks in training, whose states lie in folders of the store until their runs are published."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokfast.errors import StoreError
from grokfast.store import Store
from grokfast.store.atomic import write_json
from grokfast.store.lock import is_held, lock
from grokfast.training.config import RunConfig
from grokfast.training.looks import missing_looks

SHARDS = ".shards"
"""Folder of a store that holds the shards in training."""


@dataclass(frozen=True)
class Shard:
    """Configurations that train in one stack, on one worker, with one thread.

    Args:
        configs: Equal in ``stack_key``.
    """

    configs: tuple[RunConfig, ...]

    @property
    def id(self) -> str:
        """Name of the shard, from the keys of its members and what is looked at."""
        text = json.dumps([self.keys, self.looks], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def keys(self) -> list[str]:
        """Keys of the members."""
        return [config.key for config in self.configs]

    @property
    def looks(self) -> dict[str, list[str]]:
        """What is looked at, the same in all members."""
        return self.configs[0].looks()

    @property
    def epochs(self) -> int:
        """Epochs of each member."""
        return self.configs[0].epochs

    @property
    def passes(self) -> int:
        """How often it is trained: twice where the geometry has to know the end model first."""
        return 2 if self.configs[0].geometry and self.configs[0].geometry_stiff else 1

    @property
    def work(self) -> int:
        """Member-epochs of one pass."""
        return self.epochs * len(self.configs)

    def folder(self, root: Path) -> Path:
        """Where its state lies until its runs are published."""
        return root / SHARDS / self.id

    def to_dicts(self) -> list[dict[str, Any]]:
        """The configurations as JSON values."""
        return [config.to_dict() for config in self.configs]

    @classmethod
    def from_dicts(cls, values: Sequence[Mapping[str, Any]]) -> Shard:
        """The shard that :meth:`to_dicts` wrote."""
        return cls(tuple(RunConfig.from_dict(dict(value)) for value in values))


def adopt(folder: Path, shard: Shard) -> None:
    """Give the folder of a shard that an earlier version of grokfast began the name that it has now."""
    target = shard.folder(folder.parent.parent)
    if folder == target:
        return
    with lock(folder / "lock") as ours:
        if not ours:
            raise StoreError(
                f"{folder} is being trained by an earlier version of grokfast: let it end or stop it, then start again"
            )
        if target.exists():
            shutil.rmtree(folder, ignore_errors=True)  # begun anew since: the states there are the later ones
        else:
            folder.rename(target)


def read_shard(folder: Path) -> Shard | None:
    """The shard that a folder was made for; None if that cannot be read (any more, or without the task's module)."""
    try:
        return Shard.from_dicts(json.loads((folder / "shard.json").read_text())["configs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def resumable_shards(root: Path, wanted: set[str], missing: Mapping[str, RunConfig]) -> list[Shard]:
    """Shards with a saved state or in training elsewhere, whose members are all wanted and look at enough.

    Args:
        root: Of the store.
        wanted: Keys that are asked for.
        missing: Those of them that are left to train.
    """
    found: list[Shard] = []
    for folder in sorted((root / SHARDS).glob("*")):
        shard = read_shard(folder)
        if shard is None or not set(shard.keys) <= wanted or not set(shard.keys) & missing.keys():
            continue
        if any(missing_looks(missing[key].looks(), shard.looks, shard.epochs) for key in shard.keys if key in missing):
            continue
        if any(folder.rglob("state-*.json")) or (folder / "split").exists() or is_held(folder / "lock"):
            adopt(folder, shard)
            found.append(shard)
    chosen: list[Shard] = []
    taken: set[str] = set()
    for shard in sorted(found, key=lambda shard: -len(shard.configs)):
        if not taken & set(shard.keys):
            chosen.append(shard)
            taken |= set(shard.keys)
    return chosen


@dataclass(frozen=True)
class ShardNote:
    """What a shard's folder tells of it without its task.

    Attributes:
        name: The shard's name.
        keys: Its members.
        epochs: Epochs of each member.
        looks: What is looked at.
    """

    name: str
    keys: tuple[str, ...]
    epochs: int
    looks: Mapping[str, Sequence[str]]

    def is_published(self, store: Store) -> bool:
        """Whether the store holds all its runs, with all looks."""
        for key in self.keys:
            try:
                record = store.record(key)
            except StoreError:
                return False
            if record["status"] != "failed" and missing_looks(self.looks, record["looks"], self.epochs):
                return False
        return True


def write_shard(folder: Path, shard: Shard) -> None:
    """Say in a folder what shard it is for.

    Raises:
        OSError: If it cannot be written.
    """
    note = {"keys": shard.keys, "epochs": shard.epochs, "looks": shard.looks}
    write_json(folder / "shard.json", {"configs": shard.to_dicts(), **note}, durable=False)


def shard_note(folder: Path) -> ShardNote | None:
    """What the folder of a shard tells of it; None if nothing can be read."""
    try:
        found = json.loads((folder / "shard.json").read_text())
        if "keys" in found:
            return ShardNote(folder.name, tuple(found["keys"]), int(found["epochs"]), found["looks"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    shard = read_shard(folder)  # of an earlier version, which knew two tasks
    return None if shard is None else ShardNote(folder.name, tuple(shard.keys), shard.epochs, shard.looks)

"""What a store knows of its sweeps: one small file each, and whether its process is alive."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from grokfast.errors import StoreError
from grokfast.store import Store
from grokfast.store.atomic import read_sealed, write_sealed
from grokfast.store.checking import SWEEPS
from grokfast.store.lock import is_held, lock
from grokfast.sweep.plan import Plan
from grokfast.training.shards import SHARDS, shard_note


class Journal:
    """The file of one sweep; made by :func:`journal`.

    Args:
        file: Where.
        values: Its content.
    """

    def __init__(self, file: Path, values: dict[str, Any]) -> None:
        self._file = file
        self.values = values

    def note(self, **values: Any) -> None:
        """Set some values and write the file; on a full disk they are lost, and nothing else is."""
        self.values |= {**values, "noted": time.time()}
        with suppress(OSError):
            write_sealed(self._file, self.values, durable=False)


@contextmanager
def journal(
    root: Path, title: str, keys: Sequence[str], plan: Plan, resume: str, options: dict[str, Any]
) -> Iterator[Journal]:
    """Keep a sweep's file while it runs.

    Args:
        root: The store.
        title: The sweep's title.
        keys: All its runs, stored ones too.
        plan: What it has to do.
        resume: Command that starts it again.
        options: For the record.
    """
    name = hashlib.sha256(" ".join(sorted(keys)).encode()).hexdigest()[:12]
    for k in range(1, 1000):
        file = root / SWEEPS / (f"{name}.json" if k == 1 else f"{name}-{k}.json")
        with lock(file.with_suffix(".lock")) as ours:
            if not ours:
                continue  # the same sweep runs already, elsewhere: this one is a second
            kept = Journal(
                file,
                {
                    "title": title,
                    "state": "running",
                    "started": time.time(),
                    "host": platform.node(),
                    "pid": os.getpid(),
                    "resume": resume,
                    "keys": list(keys),
                    "shards": [shard.id for shard in plan.shards],
                    "options": options,
                },
            )
            kept.note()
            try:
                yield kept
            except BaseException as error:
                if kept.values["state"] == "running":
                    kept.note(state="stopped", reason=f"{type(error).__name__}: {error}")
                raise
            return
    raise StoreError(f"{root / SWEEPS} holds a thousand live sweeps of this name")


def sweeps_of(store: Store) -> list[dict[str, Any]]:
    """The sweeps of a store, newest first, each as its file says and with what is true of it now.

    Added are ``alive``, ``done``, ``failed`` and ``missing`` (numbers of runs), and ``training``: for each
    begun shard its ``shard``, ``members``, ``epochs``, ``epoch`` (last told), ``saved`` (epoch of the last
    state) and whether a process is ``alive`` with it. A ``"running"`` one without a process is ``"dead"``.

    Args:
        store: The store.

    Raises:
        StoreError: If there is no such folder, or a later version of grokfast wrote it.
    """
    store.check_readable()
    shards = {shard["shard"]: shard for shard in begun_shards(store.root)}
    found = []
    for file in (store.root / SWEEPS).glob("*.json"):
        try:
            found.append(_now(store, file, shards.values()))
        except (OSError, ValueError, KeyError, TypeError):
            found.append({"title": file.name, "state": "damaged", "started": 0.0, "keys": [], "training": []})
    return sorted(found, key=lambda values: -values["started"])


def _now(store: Store, file: Path, shards: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What a sweep's file says, and what is true of it now."""
    values = read_sealed(file, need=False)  # earlier versions wrote no checksum
    keys = set(values["keys"])
    alive = is_held(file.with_suffix(".lock"))
    statuses = [_status(store, key) for key in keys]
    return {
        "reason": "",
        **{name: values[name] for name in ("title", "resume", "host", "started")},
        **values,
        "alive": alive,
        "state": "dead" if values["state"] == "running" and not alive else values["state"],
        "failed": statuses.count("failed"),
        "missing": statuses.count(""),
        "done": len(statuses) - statuses.count("failed") - statuses.count(""),
        "training": [shard for shard in shards if set(shard["keys"]) <= keys],
    }


def begun_shards(root: Path) -> list[dict[str, Any]]:
    """The shards of a store whose runs are not all published, as :func:`sweeps_of` lists them."""
    found = []
    for folder in sorted((root / SHARDS).glob("*")):
        shard = shard_note(folder)
        if shard is None:
            continue
        states = sorted(folder.glob("state-*.json"))
        saved = int(states[-1].stem.split("-")[1]) if states else 0
        told = saved
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = max(saved, int(json.loads((folder / "progress.json").read_text())["epoch"]))
        alive = is_held(folder / "lock")
        found.append(
            {
                "shard": shard.name,
                "keys": list(shard.keys),
                "members": len(shard.keys),
                "epochs": shard.epochs,
                "epoch": told if alive else saved,
                "saved": saved,
                "saved_at": states[-1].stat().st_mtime if states else None,
                "alive": alive,
            }
        )
    return found


def sweep_up(store: Store) -> None:
    """Remove the folders of shards whose runs are all published."""
    for folder in (store.root / SHARDS).glob("*"):
        shard = shard_note(folder)
        if shard is not None and not shard.is_published(store):
            continue
        with suppress(StoreError), lock(folder / "lock") as ours:
            if ours:
                shutil.rmtree(folder, ignore_errors=True)


def _status(store: Store, key: str) -> str:
    if not store.has(key):
        return ""
    try:
        return str(store.record(key)["status"])
    except (StoreError, KeyError):
        return ""

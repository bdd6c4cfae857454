"""An index of a store: one row a run, so that ten thousand runs are listed without opening as many files.

``ROOT/.index.json`` holds what :func:`indexed_rows` computed from every ``run.json`` and the time stamps it
computed it from. It is only ever a copy: entries whose files have changed are read again, and a missing,
damaged or outdated index is made anew from the run directories. Its first line is a checksum of the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from grokfast.errors import StoreError
from grokfast.store.atomic import write_atomically
from grokfast.store.sealed import is_orphan
from grokfast.store.store import Store

INDEX = ".index.json"
_INDEX_FORMAT = 1

Row = dict[str, Any]
_Mark = list[Any]  # version folder, then inode and time of `current`, time and size of run.json


def indexed_rows(store: Store, row_of: Callable[[Mapping[str, Any]], Row], version: str) -> tuple[list[Row], list[str]]:
    """A row of every published run.

    Args:
        store: The store.
        row_of: Computes a flat row of JSON scalars from ``run.json``; it may raise StoreError.
        version: Names what ``row_of`` computes; an index of another version is made anew.

    Returns:
        The rows in the order of their keys, and a message for each damaged run.

    Raises:
        StoreError: If there is no such folder, or a later version of grokfast wrote it.
    """
    store.check_readable()
    file = store.root / INDEX
    known = _read(file, version)
    marks: dict[str, _Mark] = {}
    rows: dict[str, Row] = {}
    root = str(store.root)
    damaged: list[str] = []
    changed = 0
    for key in _keys(store.root):
        mark, row = known.get(key, (None, None))
        try:
            now = _mark(f"{root}/{key}", mark)
            if now is None or row is None:
                row = row_of(store.record(key))
                now = _mark(f"{root}/{key}", [store.path(key).name])
                changed += 1
        except StoreError as error:
            if (store.root / key / "current").exists():
                damaged.append(str(error))
            elif is_orphan(store.root / key):
                damaged.append(f"{store.root / key} is damaged: it holds runs but has lost its file `current`")
            continue
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            damaged.append(f"{store.root / key}: run.json is damaged: {type(error).__name__} {error}")
            continue
        if now is not None:
            marks[key] = now
        rows[key] = row
    changed += len(known.keys() - rows.keys())
    if changed > 0.01 * len(rows):
        # A read-only store is read without an index.
        with suppress(OSError):
            _write(file, version, marks, rows)
    return [rows[key] for key in sorted(rows)], damaged


def _keys(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]


def _mark(home: str, mark: _Mark | None) -> _Mark | None:
    """What tells whether a run has changed since; None if it has, or there is none published."""
    if mark is None:
        return None
    try:
        pointer = os.stat(f"{home}/current")
        record = os.stat(f"{home}/{mark[0]}/run.json")
    except OSError:
        return None
    now = [mark[0], pointer.st_ino, pointer.st_mtime_ns, record.st_mtime_ns, record.st_size]
    return now if len(mark) == 1 or now == mark else None


def _read(file: Path, version: str) -> dict[str, tuple[_Mark, Row]]:
    try:
        digest, _, text = file.read_bytes().partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != digest:
            return {}
        found = json.loads(text)
        if found["format"] != _INDEX_FORMAT or found["version"] != version:
            return {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {
        key: (mark, dict(zip(group["columns"], values, strict=True)))
        for group in found["groups"]
        for key, mark, values in group["runs"]
    }


def _write(file: Path, version: str, marks: Mapping[str, _Mark], rows: Mapping[str, Row]) -> None:
    groups: dict[tuple[str, ...], list[Any]] = {}
    for key, mark in marks.items():
        groups.setdefault(tuple(rows[key]), []).append([key, mark, list(rows[key].values())])
    content = {
        "format": _INDEX_FORMAT,
        "version": version,
        "groups": [{"columns": list(columns), "runs": runs} for columns, runs in groups.items()],
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    digest = hashlib.sha256(text).hexdigest().encode()
    write_atomically(file, lambda draft: draft.write_bytes(digest + b"\n" + text), durable=False)

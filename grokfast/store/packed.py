"""Many runs in one small Parquet file: what figures, tables and claims need of them, without end models.

One long table, which any tool can read:

========== ======================================= ============ =====================================
part       name                                    place        value or text
========== ======================================= ============ =====================================
about                                                           JSON: what the file is for
record                                                          JSON: the record of ``run``
history    a column                                the epoch    the value; no row for NaN
arrays     an array                                the position its values, row by row; null for NaN
kept/ENTRY an array that was computed of the model the position the same
shape      PART/name                                            JSON: shape and type
========== ======================================= ============ =====================================

Curves are thinned where they have more than ``MOST`` looks, and numbers of curves and arrays are rounded to ``BITS``
bits (five digits); single numbers, in records and ``shape`` rows, are whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from grokfast.errors import StoreError
from grokfast.store.atomic import write_atomically
from grokfast.store.derived import derived, derived_names, read_entry
from grokfast.store.parquet import database
from grokfast.store.store import Store

MOST = 400
"""Looks of a curve from which it is thinned to this many epochs, evenly on a logarithmic axis."""

BITS = 17
"""Bits of the rounded numbers: a relative error of at most 2⁻¹⁸."""

_FORMAT = 1
_THINNED = "thinned"  # in the record of an unpacked run
_NUMBERS = "place IS NOT NULL"  # rows of numbers


def pack(store: Store, keys: Sequence[str], file: Path, about: Mapping[str, Any]) -> None:
    """Write runs to one file, but for their checkpoints.

    Args:
        store: Where they are.
        keys: Which.
        file: To write; it is replaced in one step.
        about: What the file is for, as JSON values.

    Raises:
        StoreError: If a run cannot be read, or the file cannot be written.
    """
    table = _Table()
    table.text("", "about", "", json.dumps({"format": _FORMAT, **about}))
    for key in keys:
        record = {**store.record(key), "key": key}
        # Runs that come from a packed file have been thinned before: what they had then still counts.
        had = record.pop(_THINNED, {})
        table.text(key, "record", "", json.dumps(record))
        history = store.history(key)
        epochs = history.pop("epoch")
        for name, values in history.items():
            table.curve(key, name, epochs, values, had.get(name))
        arrays = store.tensors(key, "arrays") if (store.path(key) / "arrays.safetensors").exists() else {}
        for name, array in arrays.items():
            table.array(key, "arrays", name, array)
        for entry in derived_names(store, key):
            found = read_entry(store, key, entry)
            if found is not None and "@" not in entry:
                kept, version = found
                table.text(key, "version", f"kept/{entry}", version)
                for name, array in kept.items():
                    table.array(key, f"kept/{entry}", name, array)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, table.write)
    except (OSError, duckdb.Error) as error:
        raise StoreError(f"{file} cannot be written: {error}") from error


def about_packed(file: Path) -> dict[str, Any]:
    """What a packed file says of itself.

    Raises:
        StoreError: If it cannot be read, or is of a later format.
    """
    rows = _rows(file, "part = 'about'", "text")
    try:
        about: dict[str, Any] = json.loads(rows["text"][0])
        form = about.pop("format")
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{file} is no packed file of runs: it has no row that says what it is") from error
    if form > _FORMAT:
        raise StoreError(f"{file} has format {form}, this grokfast knows up to {_FORMAT}: pip install -U grokfast")
    return about


def packed_files(path: Path) -> list[Path]:
    """The packed files that a path means: itself, or those in a folder that is no store; none where it is one."""
    if path.is_file():
        return [path]
    return [] if (path / "store.json").exists() else sorted(path.glob("*.parquet"))


def unpack(file: Path, root: Path) -> list[str]:
    """Write the runs of a packed file into a store, and return their keys.

    Their records say in ``thinned`` of which curves there were more looks, and how many; packed again, they give the
    same file.

    Args:
        file: As :func:`pack` wrote it.
        root: The store's folder; it is made if it is missing.

    Raises:
        StoreError: If the file cannot be read or the store cannot be written.
    """
    about_packed(file)
    store = Store(root)
    store.check_writable()
    texts = _rows(file, "part IN ('record', 'shape', 'version')", "run, part, name, text")
    order = "ORDER BY part, name, run"
    blocks = _rows(file, _NUMBERS, "run, part, name, count(*) AS size", f"GROUP BY run, part, name {order}")
    numbers = _rows(file, _NUMBERS, "place, value", f"{order}, place")
    found = _parsed(texts, dict(_blocks(blocks, numbers)))
    for key, parts in found.items():
        record = json.loads(parts["record"])
        thinned = {
            name: parts["looks"][name] for name, (at, _) in parts["history"].items() if parts["looks"][name] > len(at)
        }
        if thinned:
            record[_THINNED] = thinned
        epochs = np.array(sorted({epoch for at, _ in parts["history"].values() for epoch in at.tolist()}))
        history = {name: _filled(epochs, *curve) for name, curve in parts["history"].items()}
        tensors = {"arrays": parts["arrays"]} if parts["arrays"] else {}
        store.publish(key, record, {"epoch": epochs, **history}, tensors)
        for entry, (version, arrays) in parts["kept"].items():
            derived(store, key, entry, version, lambda arrays=arrays: arrays)  # type: ignore[misc]
    return list(found)


class _Table:
    """Rows as they come, numbers apart from texts."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, str, str, str]] = []
        self._names: list[tuple[str, str, str]] = []
        self._at: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.float32]] = []

    def text(self, run: str, part: str, name: str, text: str) -> None:
        self._texts.append((run, part, name, text))

    def curve(self, run: str, name: str, epochs: NDArray[Any], values: NDArray[Any], looks: int | None = None) -> None:
        seen = np.flatnonzero(~np.isnan(values))
        chosen = seen[_spread(len(seen))]
        self.text(run, "shape", f"history/{name}", json.dumps({"looks": len(seen) if looks is None else looks}))
        self._numbers(run, "history", name, epochs[chosen], values[chosen])

    def array(self, run: str, part: str, name: str, array: NDArray[Any]) -> None:
        about: dict[str, Any] = {"shape": array.shape, "type": array.dtype.str}
        if array.dtype == np.uint8:
            about["text"] = array.tobytes().decode("latin-1")
        elif array.ndim == 0:
            about["value"] = array.item()
        else:
            self._numbers(run, part, name, np.arange(array.size), array.reshape(-1))
        self.text(run, "shape", f"{part}/{name}", json.dumps(about))

    def _numbers(self, run: str, part: str, name: str, at: NDArray[Any], values: NDArray[Any]) -> None:
        self._names.append((run, part, name))
        self._at.append(at.astype(np.int64))
        self._values.append(_rounded(values))

    def write(self, file: Path) -> None:
        counts = [len(at) for at in self._at]
        texts = dict(zip(("run", "part", "name", "text"), _columns(self._texts, 4), strict=True))
        names = dict(zip(("run", "part", "name"), _columns(self._names, 3), strict=True))
        names["id"] = np.arange(len(counts))
        numbers = {
            "id": np.repeat(np.arange(len(counts)), counts),
            "place": np.concatenate([*self._at, np.zeros(0, np.int64)]),
            "value": np.concatenate([*self._values, np.zeros(0, np.float32)]),
        }
        target = str(file.absolute()).replace("'", "''")
        with database(os.getpid()).cursor() as connection:
            for label, columns in (("texts", texts), ("names", names), ("numbers", numbers)):
                connection.register(label, columns)
            connection.execute(
                "COPY (SELECT run, part, name, NULL::UINTEGER AS place, NULL::FLOAT AS value, text FROM texts "
                "UNION ALL SELECT run, part, name, place::UINTEGER, value, NULL FROM numbers JOIN names USING (id) "
                f"ORDER BY part, name, run, place) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
            )


def _columns(rows: Sequence[tuple[str, ...]], width: int) -> list[NDArray[Any]]:
    return [np.array([row[k] for row in rows], dtype=object) for k in range(width)]


def _spread(count: int) -> NDArray[np.int64]:
    """Positions of at most MOST of them, evenly on a logarithmic axis, the first and the last among them."""
    if count <= MOST:
        return np.arange(count)
    return np.unique(np.round(np.geomspace(1, count, MOST)).astype(np.int64) - 1)


def _rounded(values: NDArray[Any]) -> NDArray[np.float32]:
    """To BITS bits; whole numbers of as many stay what they are."""
    whole = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        mantissa, exponent = np.frexp(whole)
        near = np.ldexp(np.round(np.ldexp(mantissa, BITS)), exponent - BITS)
    # Positions such as ranks of a spectrum are whole numbers that must not move.
    return np.where(np.mod(whole, 1) == 0, whole, near).astype(np.float32)


def _rows(file: Path, condition: str, columns: str, order: str = "") -> dict[str, NDArray[Any]]:
    try:
        with database(os.getpid()).cursor() as connection:
            query = f"SELECT {columns} FROM read_parquet(?, hive_partitioning = false) WHERE {condition} {order}"
            found = connection.execute(query, [os.fspath(file)]).fetchnumpy()
    except duckdb.Error as error:
        raise StoreError(f"{file} cannot be read as a packed file of runs: {error}") from error
    return {name: _unmasked(values) for name, values in found.items()}


def _unmasked(values: Any) -> NDArray[Any]:
    """NaN where a number is null."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind == "f":
        return np.asarray(values.filled(np.nan))
    return np.asarray(np.ma.getdata(values))


def _parsed(
    texts: Mapping[str, NDArray[Any]], values: Mapping[tuple[str, str, str], tuple[Any, Any]]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    versions: dict[tuple[str, str], str] = {}
    shapes: list[tuple[str, str, dict[str, Any]]] = []
    for run, part, name, text in zip(*(texts[column] for column in ("run", "part", "name", "text")), strict=True):
        if part == "record":
            found[run] = {"record": text, "history": {}, "looks": {}, "arrays": {}, "kept": {}}
        elif part == "version":
            versions[run, name] = text
        else:
            shapes.append((run, name, json.loads(text)))
    for run, place, about in shapes:
        part, _, name = place.rpartition("/")
        if part == "history":
            found[run]["looks"][name] = about["looks"]
            found[run]["history"][name] = values.get((run, part, name), (np.zeros(0, np.int64), np.zeros(0)))
            continue
        array = _array(about, values.get((run, part, name)))
        if part == "arrays":
            found[run]["arrays"][name] = array
        else:
            entry = part.removeprefix("kept/")
            found[run]["kept"].setdefault(entry, (versions[run, part], {}))[1][name] = array
    return found


def _blocks(
    blocks: Mapping[str, NDArray[Any]], numbers: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[tuple[str, str, str], tuple[Any, Any]]]:
    """The rows of each curve and array, which lie together and in order."""
    place, value = numbers["place"].astype(np.int64), numbers["value"].astype(np.float64)
    after = np.cumsum(blocks["size"].astype(np.int64)).tolist()
    names = zip(blocks["run"], blocks["part"], blocks["name"], strict=True)
    for name, first, last in zip(names, [0, *after[:-1]], after, strict=False):
        yield name, (place[first:last], value[first:last])


def _array(about: Mapping[str, Any], block: tuple[Any, Any] | None) -> NDArray[Any]:
    if "text" in about:
        return np.frombuffer(about["text"].encode("latin-1"), np.uint8)
    kind = np.dtype(about["type"])
    if "value" in about:
        return np.array(about["value"], dtype=kind)
    values = np.zeros(0) if block is None else block[1]
    found: NDArray[Any] = values.reshape(about["shape"]).astype(kind)
    return found


def _filled(epochs: NDArray[Any], at: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    column = np.full(len(epochs), np.nan)
    column[np.searchsorted(epochs, at)] = values
    return column

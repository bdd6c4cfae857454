"""Measurements on disk: npz or Parquet, everything included, without pickle."""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from grokfast.checksums import digest_of, digest_of_arrays
from grokfast.errors import InputError
from grokfast.ising.series import Series

_VERSION = 1
_SUFFIXES = (".npz", ".parquet")
_NUMBERS = ("unit", "sites", "J", "field")
_ARRAYS = ("temperatures", "interactions", "moments")
_KEY = "grokfast"


def save_series(series: Series, every: int, path: str | os.PathLike[str]) -> None:
    """Write series with a checksum; a reader sees the old file or the whole new one.

    Args:
        series: What was measured.
        every: Sweeps between two measurements.
        path: Ends in ``.npz`` (the arrays of :class:`Series`) or ``.parquet`` (a row for each measurement of each
            lattice: ``temperature_index``, ``temperature``, ``replica``, ``measurement``, ``energy`` and
            ``magnetization`` per site, and the ``interaction`` and ``moment`` as they were counted).

    Raises:
        InputError: If the ending is another.
        OSError: If it cannot be written.
    """
    target = _check_suffix(path)
    arrays = {name: np.ascontiguousarray(getattr(series, name)) for name in _ARRAYS}
    about = {"version": _VERSION, "every": every, "shape": list(series.shape)}
    about |= {name: getattr(series, name) for name in _NUMBERS}
    text = json.dumps({**about, "sha256": _digest(arrays, about)}, sort_keys=True)
    handle, temporary = tempfile.mkstemp(suffix=target.suffix, prefix=f".{target.stem}-", dir=target.parent)
    os.close(handle)
    try:
        if target.suffix == ".npz":
            np.savez_compressed(temporary, allow_pickle=False, **arrays, about=np.frombuffer(text.encode(), np.uint8))
        else:
            _write_parquet(Path(temporary), series, text)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_series(path: str | os.PathLike[str]) -> tuple[Series, int]:
    """Read what :func:`save_series` wrote, and compare it with its checksum.

    Args:
        path: Ends in ``.npz`` or ``.parquet``.

    Returns:
        The series, equal bit for bit, and the sweeps between two measurements.

    Raises:
        InputError: If the file holds no measurements, or is damaged.
        FileNotFoundError: If there is none.
    """
    source = _check_suffix(path)
    if not source.exists():
        raise FileNotFoundError(source)
    try:
        arrays, text = _read_npz(source) if source.suffix == ".npz" else _read_parquet(source)
        about = json.loads(text)
        if about["version"] != _VERSION:
            raise InputError(f"its version must be {_VERSION}, got {about['version']!r}")
        if about.pop("sha256") != _digest(arrays, about):
            raise InputError("it is damaged: its checksum is not the one it was saved with")
        return _series(arrays, about), int(about["every"])
    except (IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # each reader has exceptions of its own for damaged files
        raise InputError(f"{source} holds no measurements of an Ising sampler: {error}") from error


def _table(series: Series) -> dict[str, npt.NDArray[Any]]:
    """The columns of a Parquet file."""
    n, T, R = series.shape
    index = np.arange(n * T * R)
    return {
        "temperature_index": (index // R % T).astype(np.int32),
        "temperature": np.ascontiguousarray(np.broadcast_to(series.temperatures[:, None], (n, T, R)).reshape(-1)),
        "replica": (index % R).astype(np.int32),
        "measurement": (index // (T * R)).astype(np.int32),
        "energy": np.moveaxis(series.energies(), -1, 0).reshape(-1),
        "magnetization": np.moveaxis(series.magnetizations(), -1, 0).reshape(-1),
        "interaction": np.ascontiguousarray(series.interactions).reshape(-1),
        "moment": np.ascontiguousarray(series.moments).reshape(-1),
    }


def _write_parquet(file: Path, series: Series, text: str) -> None:
    import duckdb

    target, about = (value.replace("'", "''") for value in (str(file.absolute()), text))
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("series", _table(series))
        connection.execute(f"COPY series TO '{target}' (FORMAT parquet, KV_METADATA {{{_KEY}: '{about}'}})")


def _read_parquet(file: Path) -> tuple[dict[str, npt.NDArray[Any]], str]:
    import duckdb

    name = re.sub(r"([\[*?])", r"[\1]", str(file.absolute())).replace("'", "''")  # no part of it is a pattern
    with duckdb.connect(config={"threads": 1}) as connection:
        query = f"SELECT value FROM parquet_kv_metadata('{name}') WHERE decode(key) = '{_KEY}'"
        text = bytes(connection.execute(query).fetchall()[0][0]).decode()
        order = "measurement, temperature_index, replica"
        columns = connection.execute(f"SELECT * FROM read_parquet('{name}') ORDER BY {order}").fetchnumpy()
    about = json.loads(text)
    shape = tuple(about["shape"])
    arrays = {
        "temperatures": np.asarray(columns["temperature"]).reshape(shape)[0, :, 0].copy(),
        "interactions": np.asarray(columns["interaction"]).reshape(shape),
        "moments": np.asarray(columns["moment"]).reshape(shape),
    }
    for column, expected in _table(_series(arrays, about)).items():  # those that follow from the others too
        if not np.array_equal(columns[column], expected, equal_nan=column in ("energy", "magnetization")):
            raise InputError(f"it is damaged: column {column!r} does not go with the others")
    return arrays, text


def _series(arrays: dict[str, npt.NDArray[Any]], about: dict[str, Any]) -> Series:
    return Series(
        temperatures=arrays["temperatures"],
        interactions=arrays["interactions"],
        moments=arrays["moments"],
        unit=float(about["unit"]),
        sites=int(about["sites"]),
        J=float(about["J"]),
        field=float(about["field"]),
    )


def _read_npz(file: Path) -> tuple[dict[str, npt.NDArray[Any]], str]:
    if not zipfile.is_zipfile(file):
        raise InputError("no zip archive")
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
        return {name: stored[name] for name in _ARRAYS}, stored["about"].tobytes().decode()


def _digest(arrays: dict[str, npt.NDArray[Any]], about: dict[str, Any]) -> str:
    return digest_of({"arrays": digest_of_arrays(arrays), "about": about})


def _check_suffix(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if file.suffix not in _SUFFIXES:
        raise InputError(f"path must end in {' or '.join(_SUFFIXES)}, got {str(path)!r}")
    return file

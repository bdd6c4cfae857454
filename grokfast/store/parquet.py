"""Histories as Parquet files, by way of DuckDB: what a folder is called never changes what is read."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray


def write_history(file: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns of equal length; NaN becomes null."""
    names = ", ".join(
        f"CASE WHEN isnan({_quoted(name)}) THEN NULL ELSE {_quoted(name)} END AS {_quoted(name)}"
        if np.issubdtype(values.dtype, np.floating)
        else _quoted(name)
        for name, values in columns.items()
    )
    history = {name: np.ascontiguousarray(values) for name, values in columns.items()}
    target = str(file.absolute()).replace("'", "''")
    with database(os.getpid()).cursor() as connection:
        connection.register("history", history)
        connection.execute(f"COPY (SELECT {names} FROM history) TO '{target}' (FORMAT parquet)")


def read_history(file: Path, columns: Sequence[str] | None, renamed: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Read columns, in the order of their epochs; null becomes NaN.

    Args:
        file: A file that :func:`write_history` wrote.
        columns: Which, or all.
        renamed: Columns that go by another name now, by the name in the file. What their old names mean now was not
            taken: it is NaN.

    Raises:
        duckdb.Error: If the file is damaged or lacks a column.
    """
    names = "*"
    if columns is not None:
        stored = {now: before for before, now in renamed.items()}
        asked = [stored.get(name, name) for name in columns if name not in renamed]
        names = ", ".join(_quoted(name) for name in dict.fromkeys(["epoch", *asked]))
    query = f"SELECT {names} FROM read_parquet(?, hive_partitioning = false) ORDER BY epoch"
    with database(os.getpid()).cursor() as connection:
        found = connection.execute(query, [_literal(file)]).fetchnumpy()
    history = {renamed.get(name, name): _filled(values) for name, values in found.items()}
    history |= {name: np.full(len(history["epoch"]), np.nan) for name in renamed}
    return history if columns is None else {name: history[name] for name in columns}


@functools.cache
def database(process: int) -> duckdb.DuckDBPyConnection:
    """One database a process, without tables: making one takes ten times as long as reading a history."""
    database = duckdb.connect(config={"threads": 1})
    # Files are read anew each time: a damaged one must not be hidden by what was read before.
    with suppress(duckdb.CatalogException):  # versions before 1.3 keep nothing
        database.execute("SET enable_external_file_cache = false")
    return database


def _filled(values: Any) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(values), np.nan, values.data.astype(np.float64))
    return np.asarray(values)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(file: Path) -> str:
    """A path that DuckDB takes as it is: no part of it is a pattern."""
    return re.sub(r"([\[*?])", r"[\1]", str(file.absolute()))

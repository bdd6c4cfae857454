"""SQL on a table of rows through DuckDB: one SELECT, on these rows and on nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokfast.errors import InputError, StoreError
from grokfast.store.atomic import write_atomically

Rows = Sequence[Mapping[str, Any]]

TABLE = "runs"
"""The name of the table in a query."""

SETTLED = "settled_runs"
"""The rows without those whose accuracy still rose in the last tenth, whose learning times are lower bounds."""

BOUNDS = "bounds"
"""All rows with all learning times: of runs that still rose their lower bounds, which ``runs`` leaves empty."""

_TIMES = ("t_train", "t_test", "t_grok", "plateau_end")


def select(rows: Rows, columns: Sequence[str], query: str) -> Any:
    """Run one query on the table ``runs``, or on ``settled_runs``, which leaves out runs that still rose at their end.

    The learning times of a run that still rose are lower bounds: they are null in ``runs``, so that no mean takes them
    for times, and stand in the table ``bounds``, which is ``runs`` otherwise.

    The query sees the rows alone: DuckDB may open no file, no address and no variable of the program, and takes
    no second statement.

    Args:
        rows: The table, one mapping a row; what a row lacks is null.
        columns: The columns to hand over.
        query: One SELECT statement.

    Returns:
        The answer as a DuckDB relation: ``.fetchall()``, ``.df()``, ``.show()``; it writes no files
        (:func:`export` does).

    Raises:
        InputError: If it is no valid query, is more than one statement or no SELECT, or fails on these values.
    """
    import duckdb

    connection = duckdb.connect(
        config={"enable_external_access": "false", "autoinstall_known_extensions": "false", "threads": "1"}
    )
    connection.execute("SET python_enable_replacements = false")
    connection.register(TABLE, {name: _column([_time_of(row, name) for row in rows]) for name in columns})
    connection.register(BOUNDS, {name: _column([row.get(name) for row in rows]) for name in columns})
    rising = "settled IS NOT DISTINCT FROM FALSE" if "settled" in columns else "FALSE"
    connection.execute(f"CREATE TEMP VIEW {SETTLED} AS SELECT * FROM {TABLE} WHERE NOT ({rising})")
    connection.execute("SET lock_configuration = true")
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
            raise InputError(f"a query must be one SELECT statement, got {kinds}: {query!r}")
        # Kept as a table, so that what fails on these values fails here.
        connection.execute(f"CREATE TEMP TABLE answer AS ({statements[0].query.rstrip().rstrip(';')}\n)")
        return connection.sql("SELECT * FROM answer")
    except duckdb.Error as error:
        raise InputError(f"invalid query {query!r}: {error}{_mixed_hint(rows, columns, query)}") from error


def _time_of(row: Mapping[str, Any], name: str) -> Any:
    """A value as the table has it: no time where it is a lower bound."""
    is_bound = row.get("settled") is False and name.startswith(_TIMES)
    return None if is_bound else row.get(name)


def export(rows: Rows, columns: Sequence[str], file: Path) -> None:
    """Write the table to a file, lower bounds of learning times as in ``bounds`` (``settled`` says of which runs).

    Args:
        rows: The table, as in :func:`select`.
        columns: The columns to write.
        file: Its suffix, ``.csv`` or ``.parquet``, says the format; an older file of this name is replaced.

    Raises:
        InputError: If the suffix is another one, or there are no rows.
        StoreError: If the file cannot be written.
    """
    import duckdb

    if file.suffix not in (".csv", ".parquet"):
        raise InputError(f"the export must be a .csv or a .parquet file, got {file}")
    if not rows:
        raise InputError("there are no runs to export")

    def write(draft: Path) -> None:
        with duckdb.connect() as connection:
            connection.register(TABLE, {name: _column([row.get(name) for row in rows]) for name in columns})
            relation = connection.table(TABLE)
            relation.write_csv(str(draft)) if file.suffix == ".csv" else relation.write_parquet(str(draft))

    try:
        write_atomically(file, write)
    except (duckdb.Error, OSError) as error:
        raise StoreError(f"{file} cannot be written: {error}") from error


def mixed_columns(rows: Rows, columns: Sequence[str]) -> list[str]:
    """Columns that hold text in some rows and numbers or truth values in others; in SQL they are text."""
    found = []
    for name in columns:
        kinds = {isinstance(row[name], str) for row in rows if row.get(name) is not None}
        if len(kinds) > 1:
            found.append(name)
    return found


def _mixed_hint(rows: Rows, columns: Sequence[str], query: str) -> str:
    mixed = [name for name in mixed_columns(rows, columns) if name.lower() in query.lower()]
    return f" (column {mixed[0]} is text here: some runs have text in it, others numbers)" if mixed else ""


def _column(values: list[Any]) -> NDArray[Any]:
    """One DuckDB column: missing numbers are NaN in float columns, missing anything else is null."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, bool) for value in present):
        if len(present) == len(values):
            return np.array(values, dtype=bool)
        return np.ma.masked_array([bool(value) for value in values], mask=[value is None for value in values])
    # Truth values among numbers are 0 and 1, as everywhere in Python.
    if present and all(isinstance(value, int | float) for value in present):
        if all(isinstance(value, int) for value in present):
            whole = [0 if value is None else int(value) for value in values]
            if len(present) == len(values):
                return np.array(whole, dtype=np.int64)
            return np.ma.masked_array(np.array(whole, dtype=np.int64), mask=[value is None for value in values])
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array([None if value is None else str(value) for value in values], dtype=object)

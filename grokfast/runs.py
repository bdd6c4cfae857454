"""Stored runs as Python objects: a table to query, and each run with its history, checkpoints and model."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from grokfast._html import heading, lines, table
from grokfast._plots import plot_with
from grokfast.errors import InputError, StoreError
from grokfast.kept import kept_columns, kept_entries, kept_measures
from grokfast.measures import Column
from grokfast.models import Params
from grokfast.overview import overview
from grokfast.query import export, select
from grokfast.rows import ROWS, join_names, regime_in, row_of, summary_of
from grokfast.store import (
    Store,
    derived_damage,
    derived_keys,
    indexed_rows,
    packed_files,
    unpack,
)
from grokfast.tasks import Split, fresh_module, load_parameters
from grokfast.training import SCHEMA, RunConfig, config_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 20  # rows in a notebook


class Run:
    """One stored run.

    Args:
        store: Where it lies.
        key: Its name there.
    """

    def __init__(self, store: Store, key: str) -> None:
        self.store = store
        self.key = key
        self._seen: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}

    def __repr__(self) -> str:
        config = self.record["config"]  # not the task itself, whose module may be missing here
        return f"Run({self.key}, {config['task']['name']}, w0={config['w0']:g}, seed={config['seed']})"

    @cached_property
    def record(self) -> dict[str, Any]:
        """``run.json``: configuration, status, summary, versions, host."""
        return self.store.record(self.key)

    @cached_property
    def config(self) -> RunConfig:
        """The configuration it was trained with, and all that was looked at."""
        return config_of(self.record)

    @property
    def summary(self) -> dict[str, Any]:
        """End results: grokking times, end metrics, compressibility, features."""
        return summary_of(self.record)

    @property
    def regime(self) -> str | None:
        """``groks``, ``learns``, ``not generalised`` or ``diverged``; None for a failed run, or without accuracy."""
        return regime_in(self.record)

    @cached_property
    def history(self) -> dict[str, NDArray[Any]]:
        """Columns ``[epochs]``: epoch, train and test loss and accuracy, observed measures (NaN where not taken)."""
        return self.store.history(self.key)

    def seen(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Where one column of the history was taken, and what was seen: epochs ``[n]`` and values ``[n]``.

        Reads that column alone, unless the history has been read.

        Raises:
            InputError: If there is no such column.
        """
        if name not in self._seen:
            whole = self.__dict__.get("history")
            try:
                found = whole if whole is not None else self.store.history(self.key, ["epoch", name])
                values = found[name]
            except (KeyError, StoreError) as error:
                raise InputError(f"run {self.key} has no column {name!r} in its history") from error
            known = ~np.isnan(values)
            self._seen[name] = found["epoch"][known], values[known]
        return self._seen[name]

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays of the end model: pruning curve, features by neuron."""
        return self.store.tensors(self.key, "arrays")

    @cached_property
    def _checkpoints(self) -> dict[int, Params]:
        stored = self.store.tensors(self.key, "checkpoints")
        # The file keeps its names sorted; stacked operations take parameters in the module's order.
        names = [name for name, _ in fresh_module(self.config.task).named_parameters()]
        epochs = {int(name.split("/", 1)[0]) for name in stored}
        return {epoch: {name: torch.from_numpy(stored[f"{epoch}/{name}"]) for name in names} for epoch in epochs}

    @property
    def checkpoint_epochs(self) -> list[int]:
        """Epochs whose parameters are stored, rising."""
        return sorted(self._checkpoints)

    def checkpoint(self, epoch: int | None = None) -> Params:
        """Parameters after an epoch, by default the last, in the order of the module.

        Raises:
            InputError: If that epoch was not stored.
        """
        stored = self.checkpoint_epochs
        wanted = stored[-1] if epoch is None else epoch
        if wanted not in self._checkpoints:
            raise InputError(f"run {self.key} has checkpoints of epochs {stored}, not of {wanted}")
        return dict(self._checkpoints[wanted])

    def model(self, epoch: int | None = None) -> nn.Module:
        """The network after an epoch (by default the last) as an ordinary module in evaluation mode.

        Its input is what ``config.task.encode(inputs, dtype)`` gives.
        """
        module = fresh_module(self.config.task).to(self.config.precision.dtype)
        return load_parameters(module, self.checkpoint(epoch)).eval()

    def data(self) -> Split:
        """Its train and test data, drawn again from its seed."""
        return self.config.task.split(self.config.seed)

    def plot(self, figure: str = "training") -> Figure:
        """One figure of this run alone.

        Args:
            figure: As ``grokfast figure`` lists them; accuracy and loss by epoch if not given.

        Raises:
            InputError: If there is no such figure.
            MissingRunsError: If the run lacks what the figure shows, or it needs runs at several w0.
        """
        return plot_with("plot_runs", RunTable(self.store, [row_of(self.record)], []), figure)

    def _repr_html_(self) -> str:
        found = overview([row_of(self.record)], {})
        shown = heading(repr(self), f"{self.record['config']['epochs']} epochs")
        names = ("train_accuracy", "test_accuracy")
        try:
            curves = [self.seen(name)[1].tolist() for name in names]
        except (InputError, StoreError):
            curves = []
        drawn = lines(curves, 0.0, 1.0, "train accuracy grey, test accuracy blue, by epoch") if any(curves) else ""
        return shown + drawn + table(found.headings, found.cells)


class RunTable:
    """A table of runs, one row each: configuration and summary as columns, queried with SQL through DuckDB.

    Iterating gives :class:`Run` objects.

    Args:
        store: The store.
        rows: One mapping of column to value a run; each has ``key``.
        damaged: Messages of runs that could not be read.
    """

    def __init__(self, store: Store, rows: list[dict[str, Any]], damaged: list[str]) -> None:
        self.store = store
        self.rows = rows
        self.damaged = damaged

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"RunTable({len(self)} runs, {len(self.columns)} columns, {self.store.named})"

    def _repr_html_(self) -> str:
        shown = self.rows[:_SHOWN]
        found = overview(shown, self.described())
        hidden = len(self) - len(shown)
        more = f"and {hidden} more; .df(), .sql(...) and .rows have all of them" if hidden else ""
        return heading(repr(self)) + table(found.headings, found.cells, "; ".join(filter(None, [more, found.legend])))

    def __iter__(self) -> Iterator[Run]:
        return (Run(self.store, row["key"]) for row in self.rows)

    def __getitem__(self, key: str) -> Run:
        """The run whose key starts with ``key``.

        Raises:
            InputError: If it is no text, or there is no such run, or more than one.
        """
        if not isinstance(key, str):
            raise InputError(
                f"expected the key of a run, or how it starts, got {key!r}; list(table)[0] is the first run"
            )
        found = [row["key"] for row in self.rows if row["key"].startswith(key)]
        if len(found) != 1:
            raise InputError(f"expected one run whose key starts with {key!r}, found {len(found)}")
        return Run(self.store, found[0])

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order they first appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def described(self) -> dict[str, Column]:
        """What the measured columns of these runs mean, by name, as their records say.

        One record is read of each task and set of columns; measures of end models say it themselves.
        """
        kinds = {(row["task"], frozenset(row)): row["key"] for row in reversed(self.rows)}
        found: dict[str, Column] = {}
        for key in reversed(kinds.values()):
            for values in [*self.store.record(key).get("columns", ()), *kept_columns(self.store, key)]:
                column = Column.from_dict(values)
                found.setdefault(column.name, column)
        return found

    def where(self, condition: str) -> RunTable:
        """The rows that fulfil an SQL condition, such as ``"w0 < 1 AND groks"``.

        Raises:
            InputError: If the condition is no valid SQL on these columns.
        """
        if not condition.strip():
            raise InputError(f"a condition must be SQL such as 'w0 < 1 AND groks', got {condition!r}")
        if not self.rows:
            return self
        # Only the columns that the condition mentions are handed over: that is what takes the time.
        named = [name for name in self.columns if name == "key" or name.lower() in condition.lower()]
        query = f"SELECT key FROM runs WHERE ({condition}\n)"
        try:
            keys = {key for (key,) in self._query(query, named).fetchall()}
        except InputError:
            keys = {key for (key,) in self.sql(query).fetchall()}
        return RunTable(self.store, [row for row in self.rows if row["key"] in keys], self.damaged)

    def sort(self, order: str) -> RunTable:
        """The rows in an SQL order, such as ``"compressibility DESC, seed"``.

        Raises:
            InputError: If the order is no valid SQL on these columns.
        """
        if not self.rows:
            return self
        rows = {row["key"]: row for row in self.rows}
        keys = self.sql(f"SELECT key FROM runs ORDER BY {order}").fetchall()
        if len(keys) != len(rows):
            raise InputError(f"an order must keep all {len(rows)} runs, but {order!r} keeps {len(keys)} of them")
        return RunTable(self.store, [rows[key] for (key,) in keys], self.damaged)

    def export(self, file: str | Path) -> None:
        """Write all columns to a file.

        Args:
            file: Its suffix, ``.csv`` or ``.parquet``, says the format.

        Raises:
            InputError: If the suffix is another one, or there are no runs.
            StoreError: If the file cannot be written.
        """
        export(self.rows, self.columns, Path(file))

    def sql(self, query: str) -> Any:
        """Run one SELECT on the table ``runs``; returns a DuckDB relation (``.df()``, ``.fetchall()``, ``.show()``).

        The query sees these rows alone: no files, no second statement.

        Raises:
            InputError: If there are no runs, or the query is invalid or fails on these values.
        """
        return self._query(query, self.columns)

    def _query(self, query: str, columns: list[str]) -> Any:
        if not self.rows:
            raise InputError(f"there are no runs in {self.store.named} to query")
        return select(self.rows, columns, query)

    def plot(self, figure: str = "", where: str = "") -> Figure:
        """One figure of these runs.

        Args:
            figure: As ``grokfast figure`` lists them; the one to look at first if not given.
            where: A further SQL condition.

        Raises:
            InputError: If there is no such figure, or several settings could be shown.
            MissingRunsError: If the runs lack what the figure shows; the message has the command that makes it.
        """
        return plot_with("plot_runs", self, figure, where)

    def df(self) -> Any:
        """The table as a pandas data frame.

        Raises:
            InputError: If pandas is not installed.
        """
        if importlib.util.find_spec("pandas") is None:
            raise InputError("a data frame needs pandas: pip install pandas; without it, use .sql(...) or .rows")
        return self.sql("SELECT * FROM runs").df()


def load(folder: str | Path, *, verify: bool = True) -> RunTable:
    """The runs of a store as a table.

    Damaged runs do not hide the others: they are left out and named in ``RunTable.damaged``. A history or an array
    that is damaged is named when it is read; ``grokfast check`` looks at all of them.

    Args:
        folder: The folder that ``grokfast train --runs`` or ``Store`` wrote; or a packed file of runs, or a folder of
            packed files (:func:`grokfast.store.pack`), which are unpacked for as long as the table is used.
        verify: Whether each file that is read is compared with its checksum. Without, a damaged one may be read as
            other values: for bulk scans that say so.

    Returns:
        The table, in the order of w0 and seed.

    Raises:
        StoreError: If the folder does not exist, or a packed file cannot be read.
    """
    packed = packed_files(Path(folder))
    store = _unpacked(packed, Path(folder)) if packed else Store(folder, verify=verify)
    rows, damaged = indexed_rows(store, row_of, f"{ROWS}-{SCHEMA}")
    measured = set(derived_keys(store))
    for row in rows:
        if row["key"] in measured:
            row |= kept_measures(store, row["key"])
            entries = kept_entries(store, row["key"])
            damaged += [found for entry in entries if (found := derived_damage(store, row["key"], entry))]
    join_names(rows, partial(_task_fields, store))
    rows.sort(key=lambda row: (row["task"], row["weight_decay"], row["batch_size"], row["w0"], row["seed"]))
    return RunTable(store, rows, damaged)


def _task_fields(store: Store, key: str) -> Collection[str]:
    try:
        return frozenset(store.record(key)["config"]["task"])
    except StoreError:  # damaged since the index was made: it is named where it is read
        return ()


def _unpacked(files: Sequence[Path], named: Path) -> Store:
    root = Path(tempfile.mkdtemp(prefix="grokfast-runs-"))
    store = Store(root, named=named)
    weakref.finalize(store, shutil.rmtree, root, ignore_errors=True)
    for file in files:
        unpack(file, root)
    return store

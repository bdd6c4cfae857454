"""What a run has: columns of its summary and history, arrays, and measures of its end model that were kept.

Nothing is computed here, nothing written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokfast.endmodel import has_curve
from grokfast.errors import InputError
from grokfast.kept import kept_measures
from grokfast.measures import Column
from grokfast.observe import FULL_TIMES, TIMES
from grokfast.runs import Run

_LEARNING_TIMES = frozenset(column.name for column in (*TIMES, *FULL_TIMES) if column.unit == "epochs")


def measured(run: Run) -> dict[str, float]:
    """Scalars of a run: its summary, and what ``grokfast measure`` has kept; missing values are left out.

    So are the learning times of a run that still rises at its end: they are lower bounds, and no part of any mean.
    """
    rising = still_rising(run)
    return {name: value for name, value in _scalars(run).items() if not (rising and name in _LEARNING_TIMES)}


def still_rising(run: Run) -> bool:
    """Whether a run ended before its accuracies had settled, so that its learning times are lower bounds.

    Runs of earlier versions, which do not say, count as settled.
    """
    return run.summary.get("settled") is False


def _scalars(run: Run) -> dict[str, float]:
    found = {**run.summary, **kept_measures(run.store, run.key)}
    return {name: float(value) for name, value in found.items() if _is_number(value)}


def values_of(runs: Sequence[Run], name: str) -> NDArray[np.float64]:
    """One scalar of every run ``[runs]``; NaN where a run has no value of it."""
    return np.array([measured(run).get(name, np.nan) for run in runs])


def history_names(run: Run) -> list[str]:
    """What its history has beside the epoch, losses and accuracies."""
    return [name for name in run.history if name != "epoch" and not name.startswith(("train_", "test_"))]


def described(run: Run) -> dict[str, Column]:
    """What the measured columns of a run mean, by name, as its record says."""
    return {column.name: column for column in map(Column.from_dict, run.record.get("columns", ()))}


def lacking(run: Run, columns: Sequence[str] = (), curves: Sequence[str] = ()) -> Iterator[str]:
    """What a run lacks of columns and of curves with two looks or more, in words.

    Args:
        run: A finished run.
        columns: Names; ``*`` stands for anything.
        curves: Names of columns of the history, in the same way.
    """
    found = _scalars(run) if columns else {}
    for name in columns:
        if not _has(run, name, found):
            yield name
    for name in curves:
        names = _matching(run, name) if "*" in name else [name]
        if not any(_looks(run, column) >= 2 for column in names):
            yield f"{name} at two epochs or more"


def lacking_kept(run: Run, names: Sequence[str]) -> Iterator[str]:
    """Which curves of its end model have not been kept."""
    for name in names:
        if not has_curve(run, name):
            yield name


def _matching(run: Run, pattern: str) -> list[str]:
    """Columns that match, by the record if it names any: a whole history is long to read."""
    known = [name for name in described(run) if fnmatchcase(name, pattern)]
    return known or [name for name in run.history if fnmatchcase(name, pattern)]


def _has(run: Run, pattern: str, found: Collection[str]) -> bool:
    if any(fnmatchcase(name, pattern) for name in found):
        return True
    return any(
        fnmatchcase(name, pattern) and not _is_unknown(values)
        for source in (run.arrays, run.history)
        for name, values in source.items()
    )


def _looks(run: Run, name: str) -> int:
    try:
        return int(run.seen(name)[0].size)
    except InputError:
        return 0


def _is_unknown(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "f" and bool(np.isnan(values).all())


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float) and bool(np.isfinite(value))

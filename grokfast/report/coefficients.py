"""Local learning coefficients of stored runs: which may be believed, and how they go with other columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from grokfast.figures.kept import values_of
from grokfast.learning_coefficient import Status
from grokfast.measures import Estimate, rank_correlation
from grokfast.runs import Run


def believed(runs: Sequence[Run], column: str) -> list[Run]:
    """Runs whose coefficient has the status ok, or comes from elsewhere and has none."""
    status, there = values_of(runs, status_of(column)), values_of(runs, column)
    sound = (status == Status.OK.number) | (np.isnan(status) & ~np.isnan(there))
    return [run for run, value in zip(runs, sound, strict=True) if value]


def status_of(column: str) -> str:
    """The column of a coefficient's status."""
    return re.sub(r"^llc(_paper|_population)?", r"\g<0>_status", column)


def counted(runs: Sequence[Run], column: str) -> str:
    """How many runs have which status, in words."""
    status = values_of(runs, status_of(column))
    parts = [f"{int((status == one.number).sum())} {one}" for one in Status if (status == one.number).any()]
    missing = int(np.isnan(values_of(runs, column)).sum())
    return ", ".join([*parts, *([f"{missing} not measured"] if missing else [])])


def related(runs: Sequence[Run], column: str, other: str, given: str = "") -> Estimate:
    """The rank correlation of two columns over the runs that have both, with a third held fixed if it is named.

    Raises:
        InputError: If there are fewer than four, or all values of one are equal.
    """
    names = [column, other, *([given] if given else [])]
    values = np.stack([values_of(runs, name) for name in names])
    known = values[:, np.isfinite(values).all(0)]
    return rank_correlation(*known)

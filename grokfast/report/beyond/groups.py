"""Slopes over the runs of an experiment, by the bootstrap over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from grokfast.endmodel import measure_run
from grokfast.figures.choose import seed_of
from grokfast.figures.kept import measured
from grokfast.measures import Estimate, bootstrap, regression_slope
from grokfast.runs import Run

_DRAWS = 10_000


def taken(runs: Sequence[Run], measures: Sequence[str]) -> None:
    """Take measures of end models, where they have not been kept."""
    for run in runs:
        for measure in measures:
            measure_run(run, measure)


def slope_by_seed(
    runs: Sequence[Run],
    y: Callable[[Mapping[str, float]], float],
    x: Callable[[Mapping[str, float]], float],
    controls: Sequence[Callable[[Mapping[str, float]], float]] = (),
) -> Estimate | None:
    """Slope of y on x over runs, with controls held fixed, by the bootstrap over seeds.

    Args:
        runs: Of one setting.
        y: From a run's scalars.
        x: Likewise.
        controls: Likewise.

    Returns:
        The slope; None with fewer than two seeds, or where it has no value.
    """
    table: dict[int, list[tuple[float, ...]]] = {}
    for run in runs:
        scalars = measured(run)
        table.setdefault(seed_of(run), []).append(tuple(f(scalars) for f in (y, x, *controls)))
    if len(table) < 2:
        return None

    def statistic(chosen: Sequence[Sequence[tuple[float, ...]]]) -> float:
        columns = np.array([row for rows in chosen for row in rows]).T
        return regression_slope(columns[0].tolist(), columns[1].tolist(), [c.tolist() for c in columns[2:]])

    found = bootstrap([table[seed] for seed in sorted(table)], statistic, draws=_DRAWS)
    return found if np.isfinite(found.mean) else None


def sign_of(estimate: Estimate | None) -> int:
    """1 or -1 where the interval excludes 0, else 0."""
    if estimate is None or not np.isfinite([estimate.low, estimate.high]).all():
        return 0
    return 1 if estimate.low > 0 else -1 if estimate.high < 0 else 0

"""Shares of runs that learn and that grok, with exact intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grokfast.figures.choose import by_scale
from grokfast.figures.kept import measured
from grokfast.measures import Estimate, proportion
from grokfast.runs import Run

_GENERALISED = 0.95
_LATE = 0.9


def largest_shares(runs: Sequence[Run]) -> tuple[Estimate, Estimate]:
    """The largest share over w0 of runs that generalise and learn, and that generalise and grok.

    Intervals are exact ones at 95 %, two-sided, with Bonferroni's correction for the number of w0: the upper and the
    lower end are the largest over w0.

    Args:
        runs: Of one task and train fraction.
    """
    groups = by_scale(runs)
    found = []
    for groks in (False, True):
        shares = [_share(members, groks, 1 - 0.05 / len(groups)) for members in groups.values()]
        best = max(shares, key=lambda share: share.mean)
        highest, lowest = max(share.high for share in shares), max(share.low for share in shares)
        found.append(Estimate(best.mean, lowest, highest, best.count))
    return found[0], found[1]


def is_censored(run: Run) -> bool:
    """Whether it has not generalised, and its test accuracy was still rising at the end."""
    scalars = measured(run)
    if scalars.get("end_test_accuracy", 0.0) >= _GENERALISED:
        return False
    epochs, values = run.seen("test_accuracy")
    return bool(epochs[int(np.argmax(values))] > _LATE * run.record["config"]["epochs"])


def outcome_of(run: Run) -> str:
    """``"learns"``, ``"groks"``, ``"censored"`` or ``"not generalised"``."""
    scalars = measured(run)
    if scalars.get("end_test_accuracy", 0.0) >= _GENERALISED:
        return "groks" if scalars.get("groks") else "learns"
    return "censored" if is_censored(run) else "not generalised"


def _share(runs: Sequence[Run], groks: bool, confidence: float) -> Estimate:
    wanted = "groks" if groks else "learns"
    return proportion(sum(outcome_of(run) == wanted for run in runs), len(runs), confidence)

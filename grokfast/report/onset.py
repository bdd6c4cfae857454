"""Claim G1: the scale from which a task groks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from grokfast.figures.choose import scale_of, seed_of
from grokfast.measures import grokking_onset, mean_interval
from grokfast.report.ledger import Row, verdict
from grokfast.runs import Run


def onset_row(groups: Mapping[float, Sequence[Run]], paper: str, agrees: Callable[[float, float], bool]) -> Row:
    """The smallest w0 from which all larger ones grok, seed by seed, and its median.

    A seed that does not grok at the largest w0 has its onset beyond it.

    Args:
        groups: Runs by w0, rising.
        paper: What the paper says.
        agrees: Whether that agrees with an onset between two neighbouring w0.
    """
    seeds = sorted({seed_of(run) for members in groups.values() for run in members})
    onsets = []
    for seed in seeds:
        mine = [run for members in groups.values() for run in members if seed_of(run) == seed]
        onsets.append(grokking_onset([scale_of(run) for run in mine], [run.summary["groks"] for run in mine]))
    by_seed = "by seed " + ", ".join("none" if np.isnan(x) else f"{x:g}" for x in onsets)
    claim, quantity = "G1", "onset of grokking (smallest w0 from which all larger grok)"
    middle = float(np.median([np.inf if np.isnan(x) else x for x in onsets]))
    if np.isinf(middle):
        return Row(claim, quantity, paper, f"none up to {max(groups):g} in half of the seeds or more; {by_seed}", "no")
    below = max((w0 for w0 in groups if w0 < middle), default=0.0)
    found = mean_interval([x for x in onsets if not np.isnan(x)])
    measured = f"median between {below:g} and {middle:g}, mean {found:.2f}; {by_seed}"
    return Row(claim, quantity, paper, measured, verdict(agrees(below, middle)))

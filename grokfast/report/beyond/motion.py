"""Question 6: is straight-line motion weight decay's doing?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grokfast.figures.choose import scale_of, seed_of
from grokfast.figures.grouping import values_by
from grokfast.figures.kept import values_of
from grokfast.figures.variants import METRICS, looked, plateau_of, variants_of
from grokfast.measures import Estimate, mean_interval
from grokfast.report.beyond.experiment import Outcome, Quantity, RunsByStudy, experiment
from grokfast.report.beyond.groups import taken
from grokfast.runs import Run

_STRAIGHT = 0.95


@experiment(
    6,
    "Is straight-line motion weight decay's doing?",
    studies=("beyond-motion",),
    figure="beyond_motion",
    page="6-motion.md",
)
def motion(runs: RunsByStudy) -> Outcome:
    """Origin similarity and largest S without decay, over the plateau of the decayed twin."""
    answers: list[str] = []
    quantities: list[Quantity] = []
    taken(runs["beyond-motion"], ("logit_scale",))
    for task, mine in values_by(runs["beyond-motion"], "task").items():
        largest = max(scale_of(run) for run in mine)
        large = [run for run in mine if scale_of(run) == largest]
        variants = variants_of(large)
        twins = {seed_of(run): plateau_of(run) for run in variants.get("Adam, L2 decay", [])}
        for metric, words in METRICS.items():
            found = {name: _in_window(members, twins, metric) for name, members in variants.items()}
            for name, (origin, largest_s) in found.items():
                where = f"{task}, w0 {largest:g}, {name}, {words}"
                quantities.append(Quantity(f"origin similarity in the twin's plateau, {where}", origin))
                quantities.append(Quantity(f"largest S there, {where}", largest_s))
            if "no decay" in found:
                answers.append(f"{task}, {words}: {_answer(*found['no decay'])}")
        for name, members in variants.items():
            scale = mean_interval(values_of(members, "logit_scale"))
            quantities.append(Quantity(f"logit scale at the end, {task}, w0 {largest:g}, {name}, nats", scale))
    return Outcome("; ".join(answers), tuple(quantities))


def _in_window(
    runs: Sequence[Run], twins: dict[int, tuple[int, int] | None], metric: str
) -> tuple[Estimate | None, Estimate | None]:
    origins, straightest = [], []
    for run in runs:
        window = twins.get(seed_of(run))
        if window is None:
            continue
        parts = []
        for what in ("origin", "cosine"):
            epochs, values = looked(run, f"geometry_{metric}_{what}")
            parts.append(values[(epochs >= window[0]) & (epochs <= window[1])])
        if all(part.size for part in parts):
            origins.append(float(parts[0].mean()))
            straightest.append(float(parts[1].max()))
    if not origins:
        return None, None
    return mean_interval(origins), mean_interval(straightest)


def _answer(origin: Estimate | None, straightest: Estimate | None) -> str:
    if origin is None or straightest is None or not np.isfinite(origin.low):
        return "not measured"
    if origin.low > 0 or straightest.mean >= _STRAIGHT:
        return "not decay's alone"
    return "decay's doing" if origin.high <= 0 else "undecided"

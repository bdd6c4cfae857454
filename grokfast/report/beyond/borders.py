"""Question 4: what sets the compressive regime's border over batch size, and is it there in other tasks?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from grokfast.figures.batch_slopes import BASE_BATCH, RULES, Slope, slope_at, slopes_by_rule, slopes_by_task
from grokfast.figures.grouping import values_by
from grokfast.measures import Estimate
from grokfast.report.beyond.experiment import Outcome, Quantity, RunsByStudy, experiment
from grokfast.report.beyond.groups import sign_of


@experiment(
    4,
    "What sets the compressive regime's border over batch size? Is it there in other tasks?",
    studies=("beyond-batch",),
    optional=("beyond-batch-steps", "beyond-batch-tasks"),
    figure="beyond_borders",
    page="4-borders.md",
)
def borders(runs: RunsByStudy) -> Outcome:
    """Slopes of c per decade of w0 by batch size, under three rules of the learning rate, and at equal steps."""
    answers: list[str] = []
    quantities: list[Quantity] = []
    for decay, mine in values_by(runs["beyond-batch"], "weight_decay").items():
        rules = slopes_by_rule(mine)
        for rule, found in rules.items():
            quantities += [_quantity(one, f"weight decay {decay:g}, {RULES[rule]}, equal epochs") for one in found]
        answer, place = _decide(rules)
        answers.append(f"weight decay {decay:g}: {answer}")
        if place is not None:
            quantities.append(Quantity(f"B*, weight decay {decay:g}, fixed rate", Estimate(place, np.nan, np.nan, 1)))
    for decay, mine in values_by(runs.get("beyond-batch-steps", ()), "weight_decay").items():
        found = [slope_at(batch, members) for batch, members in values_by(mine, "batch_size").items()]
        quantities += [_quantity(one, f"weight decay {decay:g}, learning rate fixed, equal steps") for one in found]
    for task, slopes in slopes_by_task(runs.get("beyond-batch-tasks", ())).items():
        quantities += [_quantity(one, task) for one in slopes]
        answers.append(f"{task}: {_where(slopes)}")
    return Outcome("; ".join(answers), tuple(quantities))


def _where(slopes: Sequence[Slope]) -> str:
    """At which batch sizes a task has a compressive regime."""
    signs = {slope.batch: sign_of(slope.estimate) for slope in slopes if slope.estimate is not None}
    there = [str(batch) for batch, sign in signs.items() if sign < 0]
    if there:
        return f"compressive regime at batch {', '.join(there)}"
    return "no compressive regime" if len(signs) == len(slopes) else "undecided"


def _quantity(slope: Slope, where: str) -> Quantity:
    note = f"{slope.learned} of {slope.runs} runs learned"
    return Quantity(f"c per decade of w0, batch {slope.batch}, {where}", slope.estimate, note)


def _decide(slopes: Mapping[str, Sequence[Slope]]) -> tuple[str, float | None]:
    fixed = [slope for slope in slopes["fixed"] if slope.estimate is not None]
    if not fixed or not any(slope.batch == BASE_BATCH and sign_of(slope.estimate) < 0 for slope in fixed):
        return "undecided (no compressive regime at batch 64)", None
    beyond = next((s for s in fixed if s.batch > BASE_BATCH and sign_of(s.estimate) >= 0), None)
    if beyond is None:
        every = all(sign_of(slope.estimate) < 0 for slope in fixed)
        whole = len(fixed) == len(slopes["fixed"])
        return ("no border" if every and whole else "undecided"), None
    scaled = {
        rule: next((s.estimate for s in slopes[rule] if s.batch == beyond.batch), None) for rule in ("linear", "root")
    }
    if any(sign_of(estimate) < 0 for estimate in scaled.values()):
        answer = "the noise scale sets it"
    else:
        answer = "the batch itself" if all(estimate is not None for estimate in scaled.values()) else "undecided"
    return answer, _half_way(fixed)


def _half_way(slopes: Sequence[Slope]) -> float | None:
    """The batch size at which the slope has fallen to half of that of batch 64."""
    known = [(slope.batch, slope.estimate.mean) for slope in slopes if slope.estimate and slope.batch >= BASE_BATCH]
    half = known[0][1] / 2
    for (first, high), (second, low) in itertools.pairwise(known):
        if (high - half) * (low - half) <= 0 and high != low:
            share = (high - half) / (high - low)
            return math.exp(math.log(first) + share * (math.log(second) - math.log(first)))
    return None

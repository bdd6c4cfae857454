"""Question 8: are compressible networks in flatter minima?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from grokfast.figures.grouping import above, compressive, values_by
from grokfast.report.beyond.experiment import Outcome, Quantity, RunsByStudy, experiment
from grokfast.report.beyond.groups import sign_of, slope_by_seed, taken

MEASURES = {
    "fisher_trace": "trace of the softmax Fisher",
    "fisher_largest": "largest eigenvalue of the softmax Fisher",
    "logit_fisher_trace": "trace of the logit Fisher",
    "logit_fisher_largest": "largest eigenvalue of the logit Fisher",
    "hessian_trace": "trace of the Hessian",
    "hessian_largest": "largest eigenvalue of the Hessian",
}
"""Columns and what they are called."""

_WORDS = {-1: "flatter", 1: "sharper", 0: "no relation"}


@experiment(
    8,
    "Are compressible networks in flatter minima?",
    studies=("beyond-ends",),
    figure="beyond_flatness",
    page="8-flatness.md",
)
def flatness(runs: RunsByStudy) -> Outcome:
    """Slopes of ln c on the logarithm of six measures, within the compressive scales and above them."""
    every = runs["beyond-ends"]
    taken(every, ("flatness",))
    answers, quantities = [], []
    for decay, mine in values_by(every, "weight_decay").items():
        signs = {}
        for name, label in MEASURES.items():
            parts = {"compressive scales": compressive(mine), "scales above": above(mine)}
            for part, chosen in parts.items():
                found = slope_by_seed(chosen, _size, _log_of(name))
                inside = part == "compressive scales"
                if inside:
                    signs[name] = sign_of(found)
                note = _WORDS[sign_of(found)] if inside else ""
                quantities.append(Quantity(f"ln c on ln {label}, weight decay {decay:g}, {part}", found, note))
        answers.append(f"weight decay {decay:g}: {_answer(signs)}")
    return Outcome("; ".join(answers), tuple(quantities))


def _answer(signs: Mapping[str, int]) -> str:
    if all(sign < 0 for sign in signs.values()):
        return "flatter"
    if not any(sign < 0 for sign in signs.values()):
        return "no"
    said = [MEASURES[name] for name, sign in signs.items() if sign < 0]
    return f"it depends on the measure (flatter by {', '.join(said)})"


def _size(scalars: Mapping[str, float]) -> float:
    return math.log(scalars["compressibility"])


def _log_of(name: str) -> Callable[[Mapping[str, float]], float]:
    def log(scalars: Mapping[str, float]) -> float:
        value = scalars[name]
        return math.log(value) if value > 0 else math.nan

    return log

"""Question 2: does the compressive regime use superposition?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from grokfast.figures.grouping import compressive, values_by
from grokfast.figures.kept import values_of
from grokfast.measures import Estimate
from grokfast.report.beyond.experiment import Outcome, Quantity, RunsByStudy, experiment
from grokfast.report.beyond.groups import sign_of, slope_by_seed, taken
from grokfast.runs import Run

MEASURES = {
    "frequencies_per_neuron": "frequencies per neuron",
    "feature_interference": "interference",
    "feature_packing": "packing",
    "activation_rank_per_neuron": "activation rank per neuron",
}
"""Columns and what they are called, those that the rule asks for first."""

_ASKED = ("frequencies_per_neuron", "feature_interference")
_CONTROLS = ("gini_weights", "live_neurons")


@experiment(
    2,
    "Does the compressive regime use superposition?",
    studies=("beyond-ends",),
    figure="beyond_superposition",
    page="2-superposition.md",
)
def superposition(runs: RunsByStudy) -> Outcome:
    """Slopes of ln c on four measures within the compressive scales, alone and under control."""
    chosen = compressive(runs["beyond-ends"])
    taken(chosen, ("superposition", "gini"))
    answers, quantities = [], []
    for decay, mine in values_by(chosen, "weight_decay").items():
        found = {name: _slopes(mine, name) for name in MEASURES}
        for name, (alone, controlled) in found.items():
            label = f"ln c on {MEASURES[name]}, weight decay {decay:g}"
            quantities += [Quantity(f"{label}, alone", alone), Quantity(f"{label}, under control", controlled)]
        positive = [all(sign_of(found[name][k]) > 0 for name in _ASKED) for k in (0, 1)]
        answer = "superposition" if all(positive) else "sparsity explains it" if positive[0] else "no"
        answers.append(f"weight decay {decay:g}: {answer}")
    return Outcome("; ".join(answers), tuple(quantities))


def _slopes(runs: Sequence[Run], name: str) -> tuple[Estimate | None, Estimate | None]:
    spread = float(np.std(values_of(runs, name)))

    def scaled(scalars: Mapping[str, float]) -> float:
        return scalars[name] / spread if spread else 0.0

    def size(scalars: Mapping[str, float]) -> float:
        return math.log(scalars["compressibility"])

    controls = [lambda scalars, column=column: scalars[column] for column in _CONTROLS]
    return slope_by_seed(runs, size, scaled), slope_by_seed(runs, size, scaled, controls)

"""Question 5: do both regimes have the same features, by independent measures?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grokfast.figures.alignment import alignment_of, paper_ising, regimes
from grokfast.figures.choose import ends, seed_of
from grokfast.figures.grouping import having
from grokfast.figures.kept import values_of
from grokfast.measures import mean_interval
from grokfast.report.beyond.control import MARGIN, control, verdict
from grokfast.report.beyond.experiment import Outcome, Quantity, RunsByStudy, experiment
from grokfast.report.beyond.groups import taken
from grokfast.runs import Run


@experiment(
    5,
    "Do both regimes have the same features, by independent measures?",
    studies=("beyond-ends",),
    optional=("beyond-motion", "beyond-control"),
    figure="beyond_features",
    page="5-same-features.md",
)
def same_features(runs: RunsByStudy) -> Outcome:
    """CKA within regimes less between them, and the energy's mutual information with the neurons of both."""
    answers: list[str] = []
    quantities: list[Quantity] = []
    addition = regimes(having(runs["beyond-ends"], weight_decay=3e-5))
    ising = regimes(paper_ising(runs.get("beyond-motion", ())))
    for task, mine in (("modular addition", addition), ("Ising", ising)):
        if mine:
            answer, found = _by_cka(task, mine)
            answers.append(f"{task}: {answer}")
            quantities += found
    if ising:
        quantities += _by_information(ising)
    if runs.get("beyond-control"):
        answer, found = control(runs["beyond-control"], addition)
        answers.append(f"control a*b: {answer}")
        quantities += found
    return Outcome("; ".join(answers), tuple(quantities))


def _by_cka(task: str, runs: Sequence[Run]) -> tuple[str, list[Quantity]]:
    found = alignment_of(runs)
    narrow, wide, p = found.interval(0.9), found.interval(), found.permutation_p()
    labels = {"small w0": (0, 0), "large w0": (1, 1), "between": (0, 1)}
    quantities = [
        Quantity(f"CKA, {task}, {label}, mean over pairs", mean_interval([float(found.pairs(*which).mean())]))
        for label, which in labels.items()
    ]
    quantities += [
        Quantity(f"CKA within less between, {task}, 90 %", narrow, f"margin {MARGIN}"),
        Quantity(f"CKA within less between, {task}, 95 %", wide, f"permutation p {p:.3g}, {len(found.seeds)} seeds"),
    ]
    return verdict(found), quantities


def _by_information(runs: Sequence[Run]) -> list[Quantity]:
    taken(runs, ("mutual_information",))
    sides = ends(runs)
    quantities = []
    by_seed: list[dict[int, float]] = []
    for w0, members in sides.items():
        whole = values_of(members, "information_energy")
        linear = values_of(members, "linear_information_energy")
        by_seed.append(dict(zip([seed_of(run) for run in members], whole.tolist(), strict=True)))
        quantities += [
            Quantity(f"mutual information with E, Ising, w0 {w0:g}, nats", mean_interval(whole)),
            Quantity(f"of it not linear (less -ln(1 - r²)/2), w0 {w0:g}, nats", mean_interval(whole - linear)),
        ]
    seeds = sorted(set(by_seed[0]) & set(by_seed[-1]))
    difference = np.array([by_seed[-1][seed] - by_seed[0][seed] for seed in seeds])
    quantities.append(Quantity("mutual information with E, large w0 less small, nats", mean_interval(difference)))
    return quantities

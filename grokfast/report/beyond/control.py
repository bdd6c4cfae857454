"""The control of question 5: networks that multiply, of which it is known that both regimes have the same features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grokfast.endmodel import snapshot_of
from grokfast.figures.alignment import Alignment, alignment_between, alignment_of, regimes
from grokfast.figures.choose import by_scale, seed_of
from grokfast.measures import mean_interval
from grokfast.report.beyond.experiment import Quantity
from grokfast.runs import Run
from grokfast.store import derived
from grokfast.tasks import Modular, Operation

MARGIN, LEVEL = 0.05, 0.05


def verdict(found: Alignment) -> str:
    """What the rule on CKA says of two groups: ``"same features"``, ``"different"`` or ``"undecided"``."""
    narrow, wide = found.interval(0.9), found.interval()
    if abs(narrow.low) < MARGIN and abs(narrow.high) < MARGIN:
        return "same features"
    return "different" if found.permutation_p() < LEVEL and (wide.low > 0 or wide.high < 0) else "undecided"


def control(products: Sequence[Run], sums: Sequence[Run]) -> tuple[str, list[Quantity]]:
    """Whether the rule on CKA finds what is known of a·b: the same features in both regimes, others than a + b has.

    Args:
        products: Runs of a·b mod P at the two w0.
        sums: Runs of a + b mod P at the same; may be none.
    """
    chosen = by_scale(regimes(products))
    quantities: list[Quantity] = []
    known = len(chosen) == 2
    for w0, members in chosen.items():
        after = mean_interval(np.array([_ipr(run, Operation.PRODUCT) for run in members]))
        before = mean_interval(np.array([_ipr(run, Operation.SUM) for run in members]))
        gain = mean_interval(_gain(members))
        known &= bool(np.isfinite(gain.low)) and gain.low > 0
        quantities += [
            Quantity(f"output IPR over modes of the discrete logarithm, a*b, w0 {w0:g}", after),
            Quantity(f"output IPR over modes of the numbers, a*b, w0 {w0:g}", before),
            Quantity(f"the first less the second, w0 {w0:g}", gain),
        ]
    if not known:
        return "no control (the known features are not there)", quantities
    between = alignment_of(regimes(products))
    answers = [verdict(between)]
    note = f"{answers[0]}; permutation p {between.permutation_p():.3g}, {len(between.seeds)} seeds"
    quantities.append(Quantity("CKA within regimes less between, a*b, 90 %", between.interval(0.9), note))
    for w0, members in by_scale(regimes(sums)).items():
        if w0 in chosen and len({seed_of(run) for run in members} & {seed_of(run) for run in chosen[w0]}) > 1:
            apart = alignment_between({"a+b": members, "a*b": chosen[w0]})
            wide = apart.interval()
            answers.append("different" if wide.low > 0 else verdict(apart))
            note = f"{answers[-1]}; mean CKA between {apart.pairs(0, 1).mean():.3f}"
            quantities.append(Quantity(f"CKA within tasks less between, a+b and a*b, w0 {w0:g}, 95 %", wide, note))
    if answers[0] == "different" or "same features" in answers[1:]:
        return "failed", quantities
    passed = answers[0] == "same features" and all(answer == "different" for answer in answers[1:])
    return "passed" if passed else "undecided", quantities


def _gain(runs: Sequence[Run]) -> NDArray[np.float64]:
    return np.array([_ipr(run, Operation.PRODUCT) - _ipr(run, Operation.SUM) for run in runs])


def _ipr(run: Run, operation: Operation) -> float:
    """Mean inverse participation ratio of the output weights, over the modes in which an operation is addition.

    It is kept beside the run, for when the run is without its end model.
    """
    return float(derived(run.store, run.key, "ipr-orders", "1", lambda: _iprs(run))[operation.value])


def _iprs(run: Run) -> dict[str, float]:
    snapshot = snapshot_of(run)
    assert isinstance(snapshot.task, Modular)
    found = {}
    for operation in (Operation.PRODUCT, Operation.SUM):
        task = dataclasses.replace(snapshot.task, operation=operation)
        seen = task.features(snapshot.params, snapshot.splits[0].test_inputs)
        found[operation.value] = float(seen.scalars["ipr_output"])
    return found

"""Question 3: does the local learning coefficient follow compressibility, by pruning or otherwise?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grokfast.errors import InputError, MissingRunsError
from grokfast.figures.kept import measured
from grokfast.measures import Estimate
from grokfast.report.beyond.experiment import Outcome, Quantity, RunsByStudy, experiment
from grokfast.report.coefficients import believed, counted, related

COEFFICIENTS = {"llc_rho_0_03": 0.03, "llc": 0.1, "llc_rho_0_3": 0.3}
"""Columns by locality."""

_C = "compressibility"
_OTHERS = {"quantisation_bits": "bits at a 5 % loss", "svd_rank": "rank at a 5 % loss"}
_LEAST, _STRONG = 8, 0.6


@experiment(3, "Why does the LLC not follow compressibility?", studies=("main-text",), figure="fig15", page="3-llc.md")
def coefficient(runs: RunsByStudy) -> Outcome:
    """Rank correlations of the coefficient at three localities with c, bits and rank, of runs whose estimate is ok."""
    every = [run for run in runs["main-text"] if "llc" in measured(run)]
    if not every:
        raise MissingRunsError(
            "no run of main-text has a local learning coefficient; take it with grokfast measure --llc"
        )
    found: dict[float, dict[str, Estimate]] = {}
    quantities = []
    for column, rho in COEFFICIENTS.items():
        sound = believed(every, column)
        of = {_C: "c", **_OTHERS}
        estimates = {}
        for other, words in of.items():
            for given in ("", "end_train_loss"):
                note = counted(every, column) if other == _C and not given else ""
                held = ", train loss held fixed" if given else ""
                name = f"r_s of LLC and {words}, rho = {rho:g}{held}"
                try:
                    estimate = related(sound, column, other, given)
                except InputError as error:
                    quantities.append(Quantity(name, None, str(error)))
                    continue
                if not given:
                    estimates[other] = estimate
                quantities.append(Quantity(name, estimate, note, ".2f"))
        if len(sound) >= _LEAST and _C in estimates:
            found[rho] = estimates
    return Outcome(answer(found), tuple(quantities))


def answer(found: Mapping[float, Mapping[str, Estimate]]) -> str:
    """What the rule of the page comes to, of the estimates at each locality that decides.

    Bits or rank may be missing where all networks have the same: then LLC follows no order of theirs, and nothing says
    that it follows none.
    """
    if not found:
        return "undecided: fewer than eight runs with an estimate that is ok at every rho"
    apart = [
        rho
        for rho, one in found.items()
        if _holds_zero(one[_C]) and any(abs(one[other].mean) >= _STRONG for other in _OTHERS if other in one)
    ]
    if len(apart) >= 2:
        return "the measures of compressibility differ: LLC follows bits or rank, and not c"
    known = all(len(one) == 1 + len(_OTHERS) for one in found.values())
    if known and all(_holds_zero(estimate) for one in found.values() for estimate in one.values()):
        return "a confirmed null: LLC is unrelated to c, bits and rank"
    signs = {rho: np.sign(one[_C].mean) for rho, one in found.items() if not _holds_zero(one[_C])}
    for sign, word in ((1, "rises"), (-1, "falls")):
        where = [f"{rho:g}" for rho, value in signs.items() if value == sign]
        if len(where) >= 2:
            return f"related to c: LLC {word} with it at rho = {', '.join(where)}"
    return "undecided"


def _holds_zero(estimate: Estimate) -> bool:
    return not (estimate.low > 0 or estimate.high < 0)

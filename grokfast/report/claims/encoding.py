"""C1: compressibility below and above the onset of grokking."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grokfast.figures.choose import scale_of
from grokfast.figures.losses import below_onset
from grokfast.report.claims.claim import Case, Finding, Needs, claim
from grokfast.report.claims.reduce import decade_slope, r_squared, slope


@claim(
    "C1",
    "Below the onset of grokking c rises as w0 falls and is linear in the end train loss; above it c does not depend "
    "on w0",
    topic="compressibility",
    figures=("fig05a", "fig05c"),
    studies=("main-text",),
    needs=Needs(("compressibility", "end_train_loss", "groks"), scales=3),
)
def compressive_regime(case: Case) -> Iterator[Finding]:
    """The line of c against the end train loss below the onset, and c per decade of w0 on both sides."""
    below = below_onset(case.runs)
    keys = {run.key for run in below}
    above = [run for run in case.runs if run.key not in keys]
    c, loss = (case.values(name, below) for name in ("compressibility", "end_train_loss"))
    if len(np.unique(loss)) >= 4:
        yield case.finding("slope of c, below the onset", slope(loss, c), unit="1/nat", of="slope over runs")
        yield case.finding("R² of the line, below the onset", r_squared(loss, c), "ratio", of="over runs")
    for side, runs in (("below", below), ("above", above)):
        w0 = np.array([scale_of(run) for run in runs])
        if len(np.unique(w0)) >= 2 and len(runs) >= 3:
            found = decade_slope(w0, case.values("compressibility", runs))
            yield case.finding(f"c per decade of w0, {side} the onset", found, "trend", of="slope over runs")

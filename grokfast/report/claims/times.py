"""G1 and M1: when runs learn, and from which scale they grok."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grokfast.figures.choose import scale_of, seed_of
from grokfast.measures import grokking_onset
from grokfast.report.claims.claim import Case, Finding, Needs, claim, median_range
from grokfast.report.claims.reduce import correlation


@claim(
    "G1",
    "Grokking sets in at a scale w0, and the delay t_grok grows smoothly with w0 from there",
    topic="learning times",
    figures=("fig02", "fig09", "fig10"),
    studies=("main-text", "ising"),
    needs=Needs(("t_train", "t_grok", "groks"), scales=3),
)
def onset_of_grokking(case: Case) -> Iterator[Finding]:
    """The smallest w0 from which all larger ones grok, seed by seed, and how t_grok rises with w0."""
    onsets = []
    for seed in case.seeds:
        mine = [run for run in case.runs if seed_of(run) == seed]
        onset = grokking_onset([scale_of(run) for run in mine], [bool(run.summary["groks"]) for run in mine])
        onsets.append(np.inf if np.isnan(onset) else onset)
    by_seed = "by seed " + ", ".join("none" if np.isinf(x) else f"{x:g}" for x in onsets)
    yield case.finding(
        "onset of grokking, w0", median_range(onsets), "onset", of="median and range of seeds", note=by_seed
    )
    w0 = np.log10([scale_of(run) for run in case.runs])
    ranks = np.argsort(np.argsort(case.values("t_grok"))).astype(float)
    order = np.argsort(np.argsort(w0)).astype(float)
    yield case.finding(
        "rank correlation of t_grok with w0", correlation(order, ranks), "correlation", of="correlation over runs"
    )

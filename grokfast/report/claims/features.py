"""F1, F2, M2, M5: the features that end models compute, and the participation ratios of their weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grokfast.figures.choose import scale_of
from grokfast.figures.dynamics import last_hidden
from grokfast.report.claims.claim import Case, Finding, Needs, claim, paired, share_of

_IPR = ("ipr_output", "ipr_input")
_READINGS = ("", "_no_constant", "_complex", "_complex_no_constant", "_separate", "_separate_complex")


@claim(
    "F1",
    "In the Ising task every neuron of the last hidden layer has |r| of about 0.99 with E in both regimes, about 0.9 "
    "with |M|; the first convolution carries none of it",
    topic="features",
    figures=("fig03", "fig12", "fig13"),
    studies=("ising",),
    needs=Needs(("*_mean_energy", "*_weighted_energy"), scales=2),
)
def energy_features(case: Case) -> Iterator[Finding]:
    """Mean, median and weighted |r| of the last hidden layer, the share of neurons above 0.9, and convolution 1.

    Idle neurons carry none of the pre-activation and lower the mean: the median and the weighted mean do without them.
    """
    layer = last_hidden(case.runs[0])
    for side, runs in case.sides.items():
        r = [np.abs(run.arrays[f"r_{layer}"][:, 0]) for run in runs if f"r_{layer}" in run.arrays]
        yield case.finding(f"mean |r(E)|, {side}", case.values(f"{layer}_mean_energy", runs), "correlation")
        yield case.finding(f"median |r(E)|, {side}", [float(np.nanmedian(x)) for x in r] or None, "correlation")
        weighted = case.values(f"{layer}_weighted_energy", runs)
        yield case.finding(f"|r(E)| weighted by pre-activation, {side}", weighted, "correlation")
        shares = [float((x[~np.isnan(x)] >= 0.9).mean()) for x in r]
        yield case.finding(f"neurons with |r(E)| of 0.9 or more, {side}", shares or None, "share", of="mean of seeds")
    for side, runs in case.sides.items():
        values = case.values(f"{layer}_mean_abs_magnetization", runs)
        yield case.finding(f"mean |r(|M|)|, {side}", values, "correlation")
    for side, runs in case.sides.items():
        for reading, name in (("channels1", "spatial means"), ("conv1", "every unit")):
            values = case.values(f"{reading}_mean_energy", runs)
            yield case.finding(f"mean |r(E)| of convolution 1 ({name}), {side}", values, "correlation")


@claim(
    "F2",
    "In modular addition the mean inverse participation ratio is about 1/2, comparable in both regimes",
    topic="features",
    figures=("fig04",),
    studies=("main-text",),
    needs=Needs(_IPR, scales=2),
)
def participation(case: Case) -> Iterator[Finding]:
    """The mean ratio of output and input weights in both regimes: by eq. 4, and under the other readings."""
    for reading in _READINGS:
        seen = replace(
            case, apart=reading.strip("_").replace("no_constant", "without the constant mode").replace("_", ", ")
        )
        for matrix in ("output", "input"):
            for side, runs in case.sides.items():
                values = case.values(f"ipr_{matrix}{reading}", runs)
                if np.isfinite(values).any():
                    yield seen.finding(f"IPR of {matrix} weights, {side}", values, "correlation")


@claim(
    "M2",
    "The participation ratio falls in the compressive regime at batch 64; at batch 200 it does not differ",
    topic="features",
    figures=("fig15", "fig16"),
    studies=("main-text", "batch-200"),
    needs=Needs(_IPR, scales=2),
)
def participation_by_regime(case: Case) -> Iterator[Finding]:
    """The ratio at the smallest w0 less that at the largest, by seed, and the input's own by w0."""
    batch = case.runs[0].record["config"]["batch_size"]
    for matrix in ("input", "output"):
        gap = paired(case.grokking, case.learning, f"ipr_{matrix}")
        name = f"IPR of {matrix} weights at batch {batch}, smallest less largest w0"
        yield case.finding(name, gap, "correlation", of="mean of differences by seed")
    for w0, runs in case.scales.items():
        for name, column in (("", "ipr_input"), (", without the constant mode", "ipr_input_no_constant")):
            values = case.values(column, runs)
            if np.isfinite(values).any():
                shown = f"IPR of input weights at batch {batch}{name}, w0 = {w0:g}"
                yield case.finding(shown, values, "correlation")


@claim(
    "M5",
    "Three of ten grokking Ising seeds follow the raw magnetisation M",
    topic="features",
    figures=("fig07", "fig13"),
    studies=("ising",),
    needs=Needs(("*_weighted_magnetization", "*_weighted_abs_magnetization")),
)
def raw_magnetisation(case: Case) -> Iterator[Finding]:
    """Share of the seeds of the largest w0 whose last hidden layer follows M more than |M|."""
    layer = last_hidden(case.runs[0])
    raw, absolute = (
        case.values(f"{layer}_weighted_{name}", case.grokking) for name in ("magnetization", "abs_magnetization")
    )
    hits = (raw > absolute).tolist()
    note = f"{sum(hits)} of {len(hits)} seeds at w0 = {scale_of(case.grokking[0]):g}"
    yield case.finding("grokking seeds that follow M", share_of(hits), "share", of="share of seeds", note=note)
    yield case.finding("weighted |r(M)|, grokking", raw, "correlation")

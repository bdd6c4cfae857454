"""I1, I2, M7: directions of the steps along the path, in the metric of the paper and in all others measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from grokfast.errors import InputError
from grokfast.figures.geometry import column, metrics_of
from grokfast.measures import Estimate, mean_interval
from grokfast.report.claims.claim import Case, Finding, Needs, claim, median_range
from grokfast.report.claims.reduce import LAST, correlation, end, least, mean_until, peak, where_peak
from grokfast.runs import Run

STUDIES = ("geometry-diagonal",)
PAPER = "logit-16"
"""The metric of the paper's published code: it is called by no name, all others by theirs."""

LOOKS = Needs(("t_test",), curves=("geometry_*_length",), scales=2)


@claim(
    "I1",
    "The cosine of consecutive steps rises, peaks near the learning time and falls to about 0; in Ising grokking its "
    "peak is about 1, higher than in learning",
    topic="geometry",
    figures=("fig08",),
    studies=STUDIES,
    needs=LOOKS,
)
def consecutive_steps(case: Case) -> Iterator[Finding]:
    """Peak, where it lies, the mean over the last tenth of the looks, and how much higher it is in grokking."""
    for metric, seen in metrics(case):
        name = column(metric, "cosine")
        peaks = {side: seen.curve_of(runs, name, peak) for side, runs in seen.sides.items()}
        for side, runs in seen.sides.items():
            yield seen.finding(f"peak of S, {side}", peaks[side], "cosine")
            at = seen.curve_of(runs, name, where_peak)
            where = f"epoch of the peak of S over t_test, {side}"
            times = seen.values("t_test", runs)
            if at.size == times.size:
                yield seen.finding(where, median_range(at / times), of="median and range of seeds")
            window = end_window(runs, name)
            found = seen.curve_of(runs, name, end)
            yield seen.finding(f"S at the end, {side}", found, "cosine", given=window)
        gap = difference(peaks["grokking"], peaks["learning"])
        yield seen.finding("peak of S, grokking less learning", gap, "cosine", of="difference of means")


@claim(
    "I2",
    "The cosine between the step and the way to the origin tends to 1 early in Ising grokking, is negative in Ising "
    "learning, much smaller in modular addition, and 0 at the end everywhere",
    topic="geometry",
    figures=("fig08",),
    studies=STUDIES,
    needs=LOOKS,
)
def towards_the_origin(case: Case) -> Iterator[Finding]:
    """Largest and smallest origin similarity, its mean up to t_test, and over the last tenth of the looks."""
    for metric, seen in metrics(case):
        name = column(metric, "origin")
        for side, runs in seen.sides.items():
            yield seen.finding(f"largest, {side}", seen.curve_of(runs, name, peak), "cosine")
            yield seen.finding(f"smallest, {side}", seen.curve_of(runs, name, least), "cosine")
            learned = seen.values("t_test", runs)
            if np.isfinite(learned).any():
                found = seen.curve_of(runs, name, mean_until, place=float(np.nanmean(learned)))
                yield seen.finding(f"mean up to t_test, {side}", found, "cosine")
            window = end_window(runs, name)
            found = seen.curve_of(runs, name, end)
            yield seen.finding(f"at the end, {side}", found, "cosine", given=window)


@claim(
    "M7",
    "The Euclidean twins of the geometry behave alike, but fainter",
    topic="geometry",
    figures=("fig08", "fig31"),
    studies=STUDIES,
    needs=Needs(("t_test",), curves=("geometry_euclidean_length", "geometry_logit_16_length"), scales=2),
)
def euclidean_twins(case: Case) -> Iterator[Finding]:
    """The correlation of Euclidean and Fisher curves over the looks, and how much less the Euclidean ones swing."""
    for what in ("cosine", "origin"):
        names = [column(metric, what) for metric in ("euclidean", PAPER)]
        for side, runs in case.sides.items():
            likeness, fainter = [], []
            for run in runs:
                euclid, fisher = together(run, *names)
                if euclid.size >= 4 and euclid.std() > 0 and fisher.std() > 0:
                    likeness.append(correlation(euclid, fisher).mean)
                    fainter.append(float(np.log(euclid.std() / fisher.std())))
            kind = "S" if what == "cosine" else "origin similarity"
            yield case.finding(f"correlation of both curves of {kind}, {side}", likeness or None, "correlation")
            name = f"log of the Euclidean over the Fisher swing of {kind}, {side}"
            yield case.finding(name, fainter or None, note="swing: standard deviation over the looks")


def metrics(case: Case) -> list[tuple[str, Case]]:
    """The metrics of the runs, each with the case in it: the paper's own stands in the claim's table, others apart.

    Raises:
        InputError: If the runs have none in common.
    """
    found = metrics_of(case.runs)
    if not found:
        raise InputError("the runs have no metric in common")
    return [(metric, case if metric == PAPER else replace(case, apart=metric)) for metric in found]


def together(run: Run, *names: str) -> tuple[NDArray[np.float64], ...]:
    """Columns of the history at the looks that all have ``[n]`` each."""
    values = np.stack([run.history[name] for name in names])
    return tuple(values[:, np.isfinite(values).all(0)])


def end_window(runs: Sequence[Run], name: str) -> dict[str, float]:
    """The epochs over which :func:`grokfast.report.claims.reduce.end` takes its mean."""
    epochs = runs[0].seen(name)[0]
    if not epochs.size:
        return {}
    return {"since": float(epochs[-max(1, round(LAST * epochs.size))]), "until": float(epochs[-1]) + 1}


def difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> Estimate | None:
    """Mean of one less that of the other, with Welch's 95 % interval; None where there is nothing."""
    if not one.size or not other.size:
        return None
    gap = float(one.mean() - other.mean())
    count = min(one.size, other.size)
    if count < 2:
        return Estimate(gap, np.nan, np.nan, 1)
    from scipy.stats import t

    parts = [values.var(ddof=1) / values.size for values in (one, other)]
    spread = sum(parts)
    if spread == 0:
        return mean_interval([gap, gap])
    freedom = spread**2 / sum(part**2 / (n - 1) for part, n in zip(parts, (one.size, other.size), strict=True))
    half = float(t.ppf(0.975, freedom) * np.sqrt(spread))
    return Estimate(gap, gap - half, gap + half, count)

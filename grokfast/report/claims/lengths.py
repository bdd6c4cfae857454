"""I3, I4, I5, M6: the Fisher spectrum, the length of the steps, and stiff against sloppy parameters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from grokfast.figures.geometry import column, look_of
from grokfast.figures.kept import still_rising
from grokfast.measures import largest_bump
from grokfast.report.claims.claim import Case, Finding, claim, median_range, share_of
from grokfast.report.claims.geometry import LOOKS, STUDIES, end_window, metrics, together
from grokfast.report.claims.reduce import correlation, crossings, decade_share, dip, end, mean, share_above
from grokfast.runs import Run

_GAP = 0.1
_RANGE = "median and range of seeds"


@claim(
    "I3",
    "The Fisher spectrum shows a gap near 0.1",
    topic="geometry",
    figures=("fig20",),
    studies=STUDIES,
    needs=LOOKS,
)
def gap_in_the_spectrum(case: Case) -> Iterator[Finding]:
    """Shares of the parameters in the decade around 0.1 and from 0.1 on, and how many fewer than in those beside it."""
    for metric, seen in metrics(case):
        if metric.endswith("-full"):
            continue
        for side, runs in seen.sides.items():
            spectra = [_spectrum(run, metric) for run in runs]
            around = [decade_share(*spectrum, g=_GAP) for spectrum in spectra]
            name = f"share of parameters in the decade around 0.1, {side}"
            yield seen.finding(name, around, "parameters")
            above = [share_above(*spectrum, g=_GAP) for spectrum in spectra]
            yield seen.finding(f"share of parameters from 0.1 on, {side}", above, "parameters")
            depth = [dip(*spectrum, g=_GAP) for spectrum in spectra]
            name = f"share in the decade around 0.1 less the smaller beside it, {side}"
            yield seen.finding(name, depth, "parameters")


@claim(
    "I4",
    "The length of the steps has a bump over the grokking period; in grokking stiff and sloppy lengths cross",
    topic="geometry",
    figures=("fig31", "fig32", "fig33"),
    studies=STUDIES,
    needs=LOOKS,
)
def bump_of_the_length(case: Case) -> Iterator[Finding]:
    """Start and end of the largest bump of grokking, whether it overlaps the time from t_train to t_test; crossings."""
    for metric, seen in metrics(case):
        bumps = [(run, largest_bump(*run.seen(column(metric, "length")))) for run in seen.grokking]
        found = [(run, bump) for run, bump in bumps if bump is not None]
        note = f"{len(found)} of {len(bumps)} seeds have one"
        for k, name in enumerate(("start", "end")):
            epochs = median_range([bump[k].epoch for _, bump in found])
            yield seen.finding(f"{name} of the bump", epochs, "epochs", "epochs", of=_RANGE, note=note)
        hits = [
            bump is not None and bump[0].epoch <= run.summary["t_test"] and bump[1].epoch >= run.summary["t_train"]
            for run, bump in bumps
            if not still_rising(run)
        ]
        yield seen.finding("bump meets the grokking period", share_of(hits), "share", of="share of seeds")
        if look_of(seen.runs[0]).stiff:
            for side, runs in seen.sides.items():
                counts = median_range([_crossings(run, metric) for run in runs])
                yield seen.finding(f"crossings of stiff and sloppy lengths, {side}", counts, of=_RANGE)


@claim(
    "I5",
    "Stiff and sloppy cosines behave alike in grokking; stiff ones are higher in Ising learning",
    topic="geometry",
    figures=("fig34",),
    studies=STUDIES,
    needs=LOOKS,
)
def stiff_and_sloppy_cosines(case: Case) -> Iterator[Finding]:
    """The correlation of the two curves over the looks, and the mean by time of stiff minus sloppy."""
    if not look_of(case.runs[0]).stiff:
        return
    for metric, seen in metrics(case):
        for side, runs in seen.sides.items():
            pairs = [together(run, *_parts(metric, "cosine")) for run in runs]
            pairs = [(a, b) for a, b in pairs if a.size >= 4 and a.std() > 0 and b.std() > 0]
            alike = [correlation(stiff, sloppy).mean for stiff, sloppy in pairs]
            name = f"correlation of stiff and sloppy cosines, {side}"
            yield seen.finding(name, alike or None, "correlation")
            ahead = [_ahead(run, metric) for run in runs]
            until = {"until": float(runs[0].history["epoch"][-1])}
            yield seen.finding(f"stiff less sloppy cosine, {side}", ahead, "cosine", given=until)


@claim(
    "M6",
    "The lengths of steps along stiff directions converge above those along sloppy ones",
    topic="geometry",
    figures=("fig32",),
    studies=STUDIES,
    needs=LOOKS,
)
def stiff_above_sloppy(case: Case) -> Iterator[Finding]:
    """The mean by time of the stiff over the sloppy length, over the last tenth of the looks."""
    if not look_of(case.runs[0]).stiff:
        return
    for metric, seen in metrics(case):
        for side, runs in seen.sides.items():
            found = [_ratio(run, metric) for run in runs]
            window = end_window(runs, column(metric, "stiff_length"))
            yield seen.finding(f"stiff over sloppy length at the end, {side}", found, given=window)


def _parts(metric: str, what: str) -> list[str]:
    return [column(metric, f"{part}_{what}") for part in ("stiff", "sloppy")]


def _ahead(run: Run, metric: str) -> float:
    epochs = run.history["epoch"]
    known = np.isfinite(np.stack([run.history[name] for name in _parts(metric, "cosine")])).all(0)
    stiff, sloppy = together(run, *_parts(metric, "cosine"))
    return mean(epochs[known].astype(np.float64), stiff - sloppy) if stiff.size else np.nan


def _ratio(run: Run, metric: str) -> float:
    lengths = np.stack([run.history[name] for name in _parts(metric, "length")])
    known = np.isfinite(lengths).all(0) & (lengths > 0).all(0)
    stiff, sloppy = lengths[:, known]
    return end(run.history["epoch"][known].astype(np.float64), stiff / sloppy) if known.any() else np.nan


def _crossings(run: Run, metric: str) -> float:
    stiff, sloppy = together(run, *_parts(metric, "length"))
    return crossings(np.arange(1.0, stiff.size + 1), stiff - sloppy) if stiff.size >= 2 else 0.0


def _spectrum(run: Run, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The stored spectrum as the paper draws it: ranks from 0, rising with g."""
    ranks, g = run.arrays["spectrum_ranks"], run.arrays[f"spectrum_{metric.replace('-', '_')}"]
    return (ranks[-1] - ranks)[::-1].astype(np.float64), g[::-1].astype(np.float64)

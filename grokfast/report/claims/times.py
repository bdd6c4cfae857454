"""G1, G2, M1, M4: when runs learn, from which scale they grok, and where they end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grokfast.figures.choose import scale_of, seed_of
from grokfast.figures.losses import below_onset
from grokfast.measures import grokking_onset, share_interval
from grokfast.report.claims.claim import Case, Finding, Needs, claim, median_range, paired, share_of
from grokfast.report.claims.reduce import correlation

_RANGE = "median and range of seeds"
_TIMES = ("t_train", "t_grok")
_BOTH = ("main-text", "ising")


@claim(
    "G1",
    "Grokking sets in at a scale w0, and the delay t_grok grows smoothly with w0 from there",
    topic="learning",
    figures=("fig02", "fig09", "fig10"),
    studies=_BOTH,
    needs=Needs((*_TIMES, "groks"), scales=3),
)
def onset_of_grokking(case: Case) -> Iterator[Finding]:
    """The smallest w0 from which all larger ones grok, seed by seed; how t_grok rises with w0; t_grok itself."""
    onsets = []
    for seed in case.seeds:
        mine = [run for run in case.runs if seed_of(run) == seed]
        onset = grokking_onset([scale_of(run) for run in mine], [bool(run.summary["groks"]) for run in mine])
        onsets.append(np.inf if np.isnan(onset) else onset)
    by_seed = "by seed " + ", ".join("none" if np.isinf(x) else f"{x:g}" for x in onsets)
    yield case.finding("onset of grokking, w0", median_range(onsets), "onset", of=_RANGE, note=by_seed)
    delay = case.values("t_grok")
    known = np.isfinite(delay)
    if known.sum() > 2:
        orders = [np.argsort(np.argsort(values[known])) for values in (_log_w0(case), delay)]
        yield case.finding(
            "rank correlation of t_grok with w0", correlation(*orders), "correlation", of="correlation over runs"
        )
    yield from _times(case, "t_grok")


@claim(
    "G2",
    "All runs of modular addition reach 100 % test accuracy, Ising about 95 %, alike in both regimes",
    topic="learning",
    figures=("fig02", "fig09", "fig10"),
    studies=_BOTH,
    needs=Needs(("end_test_accuracy", "end_test_loss"), scales=2),
)
def end_accuracy(case: Case) -> Iterator[Finding]:
    """Test accuracy and loss of the last epoch in both regimes, and the difference by seed."""
    for side, runs in case.sides.items():
        at = {"place": scale_of(runs[0])}
        name = f"test accuracy at the end, {side}"
        accuracies = case.values("end_test_accuracy", runs)
        known = accuracies[np.isfinite(accuracies)]
        yield case.finding(name, share_interval(known) if known.size else None, "accuracy", given=at)
    gap = paired(case.learning, case.grokking, "end_test_accuracy")
    yield case.finding("test accuracy, grokking less learning", gap, "accuracy", of="mean of differences by seed")
    for side, runs in case.sides.items():
        at = {"place": scale_of(runs[0])}
        yield case.finding(
            f"test loss at the end, {side}", case.values("end_test_loss", runs), unit=case.loss_unit, given=at
        )


@claim(
    "M1",
    "t_train rises as w0 falls from the middle of the learning regime",
    topic="learning",
    figures=("fig09", "fig10"),
    studies=_BOTH,
    needs=Needs((*_TIMES, "groks"), scales=3),
)
def slower_at_small_scales(case: Case) -> Iterator[Finding]:
    """t_train at the smallest w0 less that at the middle one of those below the onset, by seed; t_train itself."""
    scales = sorted({scale_of(run) for run in below_onset(case.runs)})
    if len(scales) >= 3:
        first, middle = (case.scales[w0] for w0 in (scales[0], scales[len(scales) // 2]))
        yield case.finding(
            "t_train, smallest w0 less the middle one below the onset",
            paired(middle, first, "t_train"),
            "epochs",
            "epochs",
            of="mean of differences by seed",
            note=f"w0 = {scales[0]:g} and {scales[len(scales) // 2]:g}",
        )
    yield from _times(case, "t_train")


@claim(
    "M4",
    "End losses differ by over 50 % between the Ising regimes and by less than 5 % in modular addition; one Ising seed "
    "never groks",
    topic="learning",
    figures=("fig09", "fig10"),
    studies=_BOTH,
    needs=Needs(("end_train_loss", "end_test_loss", "groks"), scales=2),
)
def end_losses(case: Case) -> Iterator[Finding]:
    """How many times the losses of learning those of grokking are, less 1, by seed; seeds that do not grok."""
    for split in ("train", "test"):
        first, second = (case.values(f"end_{split}_loss", runs) for runs in (case.learning, case.grokking))
        if len(first) == len(second):
            low, high = np.minimum(first, second), np.maximum(first, second)
            name = f"{split} loss at the end, larger over smaller of the regimes, less 1"
            yield case.finding(name, high / low - 1, of="mean of seeds, pairs of one seed")
    yield case.finding(
        "seeds that do not grok at the largest w0",
        share_of([not run.summary["groks"] for run in case.grokking]),
        "share",
        of="share of seeds",
    )


def _log_w0(case: Case) -> np.ndarray:
    return np.log10([scale_of(run) for run in case.runs])


def _times(case: Case, name: str) -> Iterator[Finding]:
    """A time by definition 1, and as the paper's figures 9 and 10 have it: threshold 0.9, epochs counted from 0."""
    for w0, runs in case.scales.items():
        at = {"place": w0}
        place = f"w0 = {w0:g}"
        yield case.finding(name, median_range(case.values(name, runs)), "epochs", "epochs", place=place, of=_RANGE)
        if f"{name}_90" in runs[0].summary:
            values = case.values(f"{name}_90", runs) - (name == "t_train")  # a difference counts from anywhere
            shown = f"{name} at threshold 0.9, epochs from 0"
            yield case.finding(shown, values, "epochs", "epochs", place=place, given=at)

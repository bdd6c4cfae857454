"""C1 to C5, M3, M8: compressibility by w0, against the losses and against other measures of a network's size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from grokfast.errors import InputError
from grokfast.figures.choose import scale_of
from grokfast.figures.losses import below_onset
from grokfast.measures import Estimate, mean_interval
from grokfast.report.claims.claim import Case, Finding, Needs, claim
from grokfast.report.claims.reduce import compressibility_of, correlation, decade_slope, r_squared, slope
from grokfast.report.coefficients import believed, counted, related
from grokfast.runs import Run

_C = "compressibility"
_LOSSES = ("end_train_loss", "end_test_loss")
_OVER = "over runs"
_PAPERS = "llc_paper"
_COEFFICIENT = re.compile(r"llc(_(rho_?)?\d+(_\d+)*)?")


@claim(
    "C1",
    "Below the onset of grokking c rises as w0 falls and is linear in the end train loss; above it c does not depend "
    "on w0",
    topic="compressibility",
    figures=("fig05a", "fig05c"),
    studies=("main-text",),
    needs=Needs((_C, "end_train_loss", "groks"), scales=3),
)
def compressive_regime(case: Case) -> Iterator[Finding]:
    """The line of c against the end train loss below the onset, and c per decade of w0 on both sides."""
    below = below_onset(case.runs)
    c, loss = (case.values(name, below) for name in (_C, "end_train_loss"))
    if len(np.unique(loss)) >= 4:
        unit = f"1/{case.loss_unit}" if case.loss_unit else ""
        yield case.finding("slope of c, below the onset", slope(loss, c), unit=unit, of=_OVER)
        yield case.finding("R² of the line, below the onset", r_squared(loss, c), of=_OVER)
    for side, runs in (("below", below), ("above", _above(case))):
        yield from _trend(case, f"c per decade of w0, {side} the onset", runs)


@claim(
    "C2",
    "c has no relation to the test loss, nor to the local learning coefficient",
    topic="compressibility",
    figures=("fig15",),
    studies=("main-text",),
    needs=Needs((_C, "end_test_loss", "groks"), scales=3),
)
def unrelated(case: Case) -> Iterator[Finding]:
    """The correlation of c with the end test loss, and of ranks with every local learning coefficient there is.

    Runs whose estimate is not ok are left out, and counted; by the paper's recipe all are taken as they are, with their
    statuses beside.
    """
    for name, runs in (("all runs", case.runs), ("below the onset", below_onset(case.runs))):
        yield from _relation(case, f"correlation of c with the end test loss, {name}", "end_test_loss", runs)
        for column in _coefficients(case):
            yield _coefficient(case, column, runs, name)


@claim(
    "C3",
    "At batch 200 there is no compressive regime",
    topic="compressibility",
    figures=("fig14", "fig16"),
    studies=("batch-200",),
    needs=Needs((_C, "end_train_loss", "groks"), scales=3),
    only="it is about another batch size than the main text's",
)
def no_regime_at_batch_200(case: Case) -> Iterator[Finding]:
    """Change of c per decade of w0, below the onset and over all runs, and c at both ends."""
    yield from _trend(case, "c per decade of w0, below the onset", below_onset(case.runs))
    yield from _trend(case, "c per decade of w0, all runs", case.runs)
    for side, runs in case.sides.items():
        yield case.finding(f"c, {side}", case.values(_C, runs), given={"place": scale_of(runs[0])})


@claim(
    "C4",
    "At weight decay 3e-4, 95 % accuracy needs 32 % of the weights at w0 = 2 and 5 % at w0 = 1, with c about 25; the "
    "participation ratio falls almost tenfold",
    topic="compressibility",
    figures=("fig05a", "fig18", "fig19"),
    studies=("strong-decay",),
    needs=Needs((_C, "size_at_5_percent_drop", "ipr_output", "pruning_accuracy"), scales=2),
    only="it is about a weight decay of 3e-4",
)
def strong_decay(case: Case) -> Iterator[Finding]:
    """Share of the weights that keeps 95 % of the accuracy by w0, c of single runs and of their mean curve, the IPR."""
    for w0, runs in case.scales.items():
        place = f"w0 = {w0:g}"
        yield case.finding(f"share of weights for 95 %, {place}", case.values("size_at_5_percent_drop", runs))
    best = max(case.scales, key=lambda w0: case.values(_C, case.scales[w0]).mean())
    c = case.values(_C, case.scales[best])
    yield case.finding("largest mean c of a w0", c, note=f"at w0 = {best:g}")
    for w0, runs in case.scales.items():
        name = f"c of the mean pruning curve, w0 = {w0:g}"
        yield case.finding(name, _of_mean_curve(runs), of="mean curve, one seed left out at a time")
    ratio = _ratio(case.values("ipr_output", case.grokking), case.values("ipr_output", case.learning))
    yield case.finding("IPR of output weights, largest w0 over smallest", ratio, of="ratio of means")


@claim(
    "C5",
    "In the Ising task there is no compressive regime: c is unrelated to w0 and to the end losses",
    topic="compressibility",
    figures=("fig05b", "fig05d", "fig17"),
    studies=("ising",),
    needs=Needs((_C, *_LOSSES), scales=3),
    tasks=("ising",),
)
def no_regime_in_ising(case: Case) -> Iterator[Finding]:
    """The correlation of c with w0 and with both end losses, over all runs; c in both regimes."""
    scales = np.log10([scale_of(run) for run in case.runs])
    yield case.finding(
        "correlation of c with the decades of w0", correlation(scales, case.values(_C)), "relation", of=_OVER
    )
    for split in ("train", "test"):
        yield from _relation(case, f"correlation of c with the end {split} loss", f"end_{split}_loss", case.runs)
    for side, runs in case.sides.items():
        yield case.finding(f"c at the end, {side}", case.values(_C, runs))


@claim(
    "M3",
    "The Gini coefficient of the weights rises with c",
    topic="compressibility",
    figures=("fig15",),
    studies=("main-text",),
    needs=Needs((_C, "gini_weights"), scales=3),
)
def gini_of_weights(case: Case) -> Iterator[Finding]:
    """The correlation of c with the Gini coefficient of the weights, over all runs."""
    yield from _relation(case, "correlation of c with the Gini of the weights", "gini_weights", case.runs)


@claim(
    "M8",
    "At weight decay 3e-4 train and test loss correlate negatively with c",
    topic="compressibility",
    figures=("fig19",),
    studies=("strong-decay",),
    needs=Needs((_C, *_LOSSES), scales=3),
    only="it is about a weight decay of 3e-4",
)
def losses_at_strong_decay(case: Case) -> Iterator[Finding]:
    """The correlation of c with both end losses, over all runs."""
    for split in ("train", "test"):
        yield from _relation(case, f"correlation of c with the end {split} loss", f"end_{split}_loss", case.runs)


def _above(case: Case) -> list[Run]:
    keys = {run.key for run in below_onset(case.runs)}
    return [run for run in case.runs if run.key not in keys]


def _trend(case: Case, name: str, runs: Sequence[Run]) -> Iterator[Finding]:
    """Change of c per decade of w0, where there are two w0 and three runs."""
    w0 = np.array([scale_of(run) for run in runs])
    if len(runs) >= 3 and len(np.unique(w0)) >= 2:
        yield case.finding(name, decade_slope(w0, case.values(_C, runs)), "trend", of=_OVER)


def _relation(case: Case, name: str, column: str, runs: Sequence[Run], place: str = "") -> Iterator[Finding]:
    """The correlation of c with a column, over the runs that have it; what it lacks is said in place of a number."""
    x, c = case.values(column, runs), case.values(_C, runs)
    known = np.isfinite(x) & np.isfinite(c)
    place = ", ".join(part for part in (column if place else "", place) if part)
    try:
        yield case.finding(name, correlation(x[known], c[known]), "relation", of=_OVER, place=place)
    except InputError as error:
        yield case.finding(name, None, "relation", of=_OVER, place=place, note=str(error))


def _coefficient(case: Case, column: str, runs: Sequence[Run], name: str) -> Finding:
    """Spearman's correlation of c with a coefficient, over the runs whose estimate is ok; all by the paper's recipe."""
    quantity, place = "correlation of c with the local learning coefficient", f"{column}, {name}"
    note, sound = counted(runs, column), runs if column == _PAPERS else believed(runs, column)
    try:
        found = related(sound, column, _C)
        held = related(sound, column, _C, "end_train_loss")
    except InputError as error:
        return case.finding(quantity, None, "relation", of=_OVER, place=place, note=f"{note}; {error}")
    note = f"Spearman; {note}; with the train loss held fixed {held:.2f}"
    return case.finding(quantity, found, "relation", of=_OVER, place=place, note=note)


def _coefficients(case: Case) -> list[str]:
    """Columns of local learning coefficients that runs have: ``llc``, or one a locality; last by the paper's recipe."""
    from grokfast.figures.kept import measured

    found = {name for run in case.runs for name in measured(run)}
    return [*sorted(name for name in found if is_coefficient(name)), *([_PAPERS] if _PAPERS in found else [])]


def is_coefficient(name: str) -> bool:
    """Itself, or at a locality rho: not its diagnostics."""
    return _COEFFICIENT.fullmatch(name) is not None


def _of_mean_curve(runs: Sequence[Run]) -> Estimate:
    """Compressibility of the mean pruning curve of all runs; its interval by the jackknife."""
    curves = np.stack([run.arrays["pruning_accuracy"] for run in runs])
    x = np.asarray(runs[0].arrays["pruning_fractions"], dtype=np.float64)
    whole = compressibility_of(x, curves.mean(0))
    count = len(curves)
    if count < 2:
        return Estimate(whole, np.nan, np.nan, 1)
    left = np.array([compressibility_of(x, np.delete(curves, k, axis=0).mean(0)) for k in range(count)])
    spread = mean_interval(count * whole - (count - 1) * left)  # of the pseudo-values
    half = (spread.high - spread.low) / 2
    return Estimate(whole, whole - half, whole + half, count)


def _ratio(above: np.ndarray, below: np.ndarray) -> Estimate:
    """The ratio of two means, with the interval of Student's t on its logarithm by the delta method."""
    from scipy.stats import t

    ratio = float(above.mean() / below.mean())
    count = min(len(above), len(below))
    if count < 2:
        return Estimate(ratio, np.nan, np.nan, 1)
    error = np.sqrt(sum((x.std(ddof=1) / np.sqrt(len(x)) / x.mean()) ** 2 for x in (above, below)))
    half = float(t.ppf(0.975, count - 1) * error)
    return Estimate(ratio, ratio * np.exp(-half), ratio * np.exp(half), count)

"""D1 and D2: features in the plateau of grokking, and the overshoot of compressibility after it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grokfast.errors import InputError
from grokfast.figures.choose import scale_of
from grokfast.figures.dynamics import plateau_of
from grokfast.figures.kept import still_rising
from grokfast.report.claims.claim import Case, Finding, Needs, claim, median_range
from grokfast.report.claims.reduce import decade_trend, overshoot, where_peak
from grokfast.runs import Run

_TIMES = ("t_train", "t_test", "groks")


@claim(
    "D1",
    "In modular addition the participation ratio improves all through the plateau, in the Ising task correlations stay "
    "flat in it; both go on improving after the accuracy has saturated",
    topic="dynamics",
    figures=("fig06", "fig07", "fig28", "fig29", "fig30"),
    studies=("main-text-dynamics", "ising"),
    needs=Needs(_TIMES, curves=("weight_norm",)),
)
def features_in_the_plateau(case: Case) -> Iterator[Finding]:
    """Change per decade of epochs of the headline features in the plateau of grokking, and from t_test on.

    The plateau is that of :func:`grokfast.measures.plateau`.
    """
    grokking = [run for run in case.runs if run.summary["groks"] and not still_rising(run)]
    if not grokking:
        raise InputError("no run groks and has settled: there is no plateau")
    for column in _features(case.runs[0]):
        slopes = [_slope_within(run, column, *plateau_of(run)) for run in grokking]
        name = f"change of {column} per decade of epochs in the plateau"
        yield case.finding(name, slopes, "flat", of="mean of runs that grok")
        for side, runs in case.sides.items():
            after = [_change_since(run, column, run.summary["t_test"]) for run in runs if not still_rising(run)]
            yield case.finding(f"change of {column} from t_test to the end, {side}", after, "flat")
    shrunk = []
    for run in grokking:
        epochs, norms = run.seen("weight_norm")
        inside = _between(epochs, *plateau_of(run))
        shrunk.append(norms[inside][0] / norms[inside][-1] if inside.sum() >= 2 else np.nan)
    yield case.finding("shrinking of the norm of all parameters in the plateau", shrunk, of="mean of runs that grok")


@claim(
    "D2",
    "Compressibility overshoots right after the plateau: by about 50 % in learning and 67 % in grokking in modular "
    "addition, also at batch 200; slightly in Ising grokking",
    topic="dynamics",
    figures=("fig06", "fig07"),
    studies=("main-text-dynamics", "batch-200-dynamics", "ising"),
    needs=Needs(_TIMES, curves=("compressibility",)),
)
def overshoot_of_compressibility(case: Case) -> Iterator[Finding]:
    """The highest c after t_train over c at the end, less 1, and when; c from t_test to twice it over the end, less 1.

    The first is never below 0; the second may be.
    """
    for side, runs in case.sides.items():
        where = f"{side}, batch 200" if case.study == "batch-200-dynamics" else side
        peaks, when, soon = [], [], []
        for run in runs:
            epochs, c = (np.asarray(values, dtype=np.float64) for values in run.seen("compressibility"))
            start, learned = run.summary["t_train"], run.summary["t_test"]
            if still_rising(run) or not np.isfinite([start, learned]).all():
                continue
            peaks.append(overshoot(epochs, c, place=start))
            when.append(where_peak(epochs, c, place=start))
            near = _between(epochs, learned, 2 * learned) & (epochs < epochs[-1])
            soon.append(c[near].mean() / c[-1] - 1 if near.any() else np.nan)
        note = f"w0 = {scale_of(runs[0]):g}"
        yield case.finding(f"highest c over the end, less 1, {where}", peaks, note=note)
        name = f"epoch of the highest c, {where}"
        yield case.finding(name, median_range(when), "epochs", "epochs", of="median and range of seeds")
        yield case.finding(f"c from t_test to twice it over the end, less 1, {where}", soon)


def _features(run: Run) -> list[str]:
    """The headline columns of its task's features that were looked at along the way, as its record says."""
    columns = [column for column in run.record.get("columns", ()) if column.get("measure") == "features"]
    names = [column["name"] for column in columns if column.get("headline")]
    return [name for name in names if np.isfinite(run.history.get(name, np.zeros(0))).sum() >= 2]


def _between(epochs: np.ndarray, first: float, last: float) -> np.ndarray:
    return (epochs >= first) & (epochs <= last)


def _slope_within(run: Run, column: str, first: float, last: float) -> float:
    epochs, values = run.seen(column)
    inside = _between(epochs, first, last)
    return decade_trend(epochs[inside].astype(float), values[inside]) if inside.sum() >= 3 else np.nan


def _change_since(run: Run, column: str, epoch: float) -> float:
    epochs, values = run.seen(column)
    after = epochs >= epoch
    return float(values[-1] - values[after][0]) if after.any() else np.nan

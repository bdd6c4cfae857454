"""Measured against claimed: the paper's statements on compressibility and pruning, C1 to C4, C6 and C7."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from grokfast.endmodel import kept_pruning, layers
from grokfast.errors import MissingRunsError
from grokfast.figures.choose import by_scale, ends, scale_of, seed_of
from grokfast.figures.kept import measured as measures_of
from grokfast.figures.losses import below_onset
from grokfast.figures.schemes import layer_title
from grokfast.measures import Estimate, linear_fit, mean_interval
from grokfast.pruning import Scheme
from grokfast.report.chosen import missing_runs, runs_of
from grokfast.report.ledger import Row, claims_table, verdict
from grokfast.runs import Run, RunTable
from grokfast.studies import find_study


def pruning_report(table: RunTable) -> str:
    """Claims C1, C2 (test loss), C3, C4, C6 and C7, each measured with its interval, as Markdown.

    Settings that the store does not hold are named with the command that trains them. Nothing is measured here.

    Args:
        table: Runs of any of the paper's settings.

    Returns:
        The page.

    Raises:
        MissingRunsError: If no setting has two seeds and two values of w0, or end models have not been measured
            (``grokfast measure``).
        InputError: If the runs of a setting differ in more than w0 and seed.
    """
    rows: list[Row] = []
    settings: list[str] = []
    missing: list[str] = []
    for name, study, measure in _SECTIONS:
        runs = runs_of(f"{name} of the report", table, study, columns=("compressibility", "end_train_loss"))
        if len(by_scale(runs)) < 2 or len({seed_of(run) for run in runs}) < 2:
            missing.append(f"- {name}: `{find_study(study).command}`")
            continue
        config = runs[0].record["config"]
        scales = ", ".join(f"{w0:g}" for w0 in by_scale(runs))
        settings.append(
            f"- {name}: {len(runs)} runs, w0 in {{{scales}}}, {len({seed_of(run) for run in runs})} seeds, "
            f"{config['epochs']:,} epochs, batch {config['batch_size']}, weight decay {config['weight_decay']:g}"
        )
        rows += measure(runs)
    if not rows:
        raise missing_runs("2 or more values of w0 and seeds of a setting", table, _SECTIONS[0][1])
    lines = [
        "# Pruning: measured against claimed",
        "",
        *settings,
        "",
        "Intervals are 95 % (Student's t over runs). Learning is the smallest w0, grokking the largest. Made by",
        "",
        "    grokfast measure --runs FOLDER",
        "    grokfast report pruning --runs FOLDER",
        "",
        "A slope vanishes if its interval holds 0; C1's line needs a positive interval and R² above 0.8; differences "
        "have a sign if their interval excludes 0. Fits take runs as independent, although each seed's split recurs at "
        "every w0. The local learning coefficient of C2 is not measured here.",
        "",
        *claims_table(rows),
    ]
    if missing:
        lines += ["", "Not measured, for want of runs:", "", *missing]
    return "\n".join([*lines, ""])


def _values(runs: Sequence[Run], name: str) -> np.ndarray:
    return np.array([float(run.summary[name]) for run in runs])


def _c(runs: Sequence[Run], scheme: Scheme, layer: str | None = None, fisher: str = "softmax") -> np.ndarray:
    if scheme is Scheme.LAYERWISE and layer is None:
        return _values(runs, "compressibility")  # taken at the end of training
    return np.array([kept_pruning(run, scheme, layer, fisher).compressibility.item() for run in runs])


def _slope(claim: str, quantity: str, paper: str, x: np.ndarray, c: np.ndarray, wanted: Callable[..., bool]) -> Row:
    if len(x) < 3 or x.min() == x.max():
        return Row(claim, quantity, paper, f"{len(x)} runs: too few", "-")
    fit = linear_fit(x, c)
    measured = f"slope {fit.slope:.3g}, R² = {fit.r_squared:.2f}, p = {fit.p_value:.1g}, n = {len(x)}"
    return Row(claim, quantity, paper, measured, verdict(wanted(fit.slope, fit.r_squared)))


def _vanishes(slope: Estimate, r_squared: float) -> bool:
    return slope.low <= 0 <= slope.high


def _falls(slope: Estimate, r_squared: float) -> bool:
    return slope.high < 0


def _main_text(runs: Sequence[Run]) -> list[Row]:
    below = below_onset(runs)
    keys = {run.key for run in below}
    above = [run for run in runs if run.key not in keys]
    c = "compressibility"
    rows = [
        _slope(
            "C1",
            "c against end train loss, below the onset [1/nat]",
            "linear, rising",
            _values(below, "end_train_loss"),
            _values(below, c),
            lambda slope, r_squared: slope.low > 0 and r_squared > 0.8,
        ),
        _slope("C1", "c per decade of w0, below", "falls", _log_w0(below), _values(below, c), _falls),
        _slope("C1", "c per decade of w0, above", "none", _log_w0(above), _values(above, c), _vanishes),
        _slope(
            "C2",
            "c against end test loss, all runs [1/nat]",
            "no relation",
            _values(runs, "end_test_loss"),
            _values(runs, c),
            _vanishes,
        ),
        _slope(
            "C2",
            "the same, below the onset",
            "no relation",
            _values(below, "end_test_loss"),
            _values(below, c),
            _vanishes,
        ),
    ]
    return [*rows, *_fisher_rows(runs, ""), *_scheme_rows(runs, "")]


def _log_w0(runs: Sequence[Run]) -> np.ndarray:
    return np.log10([scale_of(run) for run in runs])


_GINI = {
    *("gini_weights", "gini_parameters"),
    *(f"gini_fisher{kind}{subset}" for kind in ("", "_logit") for subset in ("", "_weights")),
}


def _fisher_rows(runs: Sequence[Run], task: str) -> list[Row]:
    rows = []
    measures = [measures_of(run) for run in runs]
    if not all(found.keys() >= _GINI for found in measures):
        root = runs[0].store.root
        raise MissingRunsError(
            f"end models have not been measured; measure them with\n  grokfast measure --runs {root}"
        )
    for kind in ("", "_logit"):
        for subset in ("", "_weights"):
            weights = "gini_weights" if subset else "gini_parameters"
            gap = mean_interval([m[f"gini_fisher{kind}{subset}"] - m[weights] for m in measures])
            of = f"{'logit' if kind else 'softmax'} Fisher, {'weights alone' if subset else 'all parameters'}"
            means = (np.mean([m[name] for m in measures]) for name in (f"gini_fisher{kind}{subset}", weights))
            measured = "{:.3f} against {:.3f}; difference ".format(*means) + f"{gap:.3f}"
            rows.append(
                Row(
                    "C6",
                    f"{task}Gini of the Fisher diagonal less that of the weights ({of})",
                    "greater",
                    measured,
                    verdict(gap.low > 0),
                )
            )
    magnitude = {Scheme.FISHER_GLOBAL: Scheme.GLOBAL, Scheme.FISHER_LAYERWISE: Scheme.LAYERWISE}
    for scheme, rival in magnitude.items():
        base = _c(runs, rival)
        for fisher in ("softmax", "logit"):
            mine = _c(runs, scheme, fisher=fisher)
            gap = mean_interval(mine - base)
            measured = f"{mine.mean():.2f} against {base.mean():.2f}; difference {gap:.2f}"
            name = f"{task}c of {scheme.value} pruning ({fisher}) less that of {rival.value} magnitude pruning"
            rows.append(Row("C6", name, "worse", measured, verdict(gap.high < 0)))
    return rows


def _scheme_rows(runs: Sequence[Run], task: str) -> list[Row]:
    base = _c(runs, Scheme.LAYERWISE)
    rows = []
    for scheme in (Scheme.GLOBAL, Scheme.GLOBAL_BY_NORM, Scheme.RANDOM):
        gap = mean_interval(_c(runs, scheme) - base)
        measured = f"{base.mean() + gap.mean:.2f} against {base.mean():.2f}; difference {gap:.2f}"
        ising, is_global = bool(task), scheme is Scheme.GLOBAL
        paper = "-" if not is_global else "better" if ising else "not better"
        agrees = "-" if not is_global else verdict(gap.low > 0 if ising else gap.low <= 0)
        rows.append(Row("C7", f"{task}c of {scheme.value} less that of layerwise pruning", paper, measured, agrees))
    for layer in layers(runs[0]):
        found = [
            f"{mean_interval(_c(members, Scheme.LAYERWISE, layer)):.2f} at w0 = {w0:g}"
            for w0, members in ends(runs).items()
        ]
        rows.append(Row("C7", f"{task}c of {layer_title(runs[0], layer)} pruned alone", "-", ", ".join(found), "-"))
    return rows


def _batch_200(runs: Sequence[Run]) -> list[Row]:
    below = below_onset(runs)
    c = "compressibility"
    return [
        _slope("C3", "batch 200: c per decade of w0, below", "none", _log_w0(below), _values(below, c), _vanishes),
        _slope("C3", "batch 200: c per decade of w0, all", "none", _log_w0(runs), _values(runs, c), _vanishes),
        _slope(
            "C3",
            "batch 200: c against end train loss, all [1/nat]",
            "none",
            _values(runs, "end_train_loss"),
            _values(runs, c),
            _vanishes,
        ),
    ]


def _strong_decay(runs: Sequence[Run]) -> list[Row]:
    groups = by_scale(runs)
    rows = []
    for w0, size in ((2.0, 0.32), (1.0, 0.05)):
        if w0 in groups:
            left = mean_interval(_values(groups[w0], "size_at_5_percent_drop"))
            name = f"weight decay 3e-4: share of the weights that keeps 95 % of the accuracy, w0 = {w0:g}"
            within = left.low <= size <= left.high
            rows.append(Row("C4", name, f"{size:.0%}", f"{left:.1%}", verdict(within)))
    means = {w0: mean_interval(_values(members, "compressibility")) for w0, members in groups.items()}
    best = max(means, key=lambda w0: means[w0].mean)
    rows.append(
        Row(
            "C4",
            f"weight decay 3e-4: largest mean c, at w0 = {best:g}",
            "about 25",
            f"{means[best]:.1f}",
            verdict(means[best].low <= 25 <= means[best].high),
        )
    )
    low, high = groups[min(groups)], groups[max(groups)]
    ratio = _values(high, "ipr_output").mean() / _values(low, "ipr_output").mean()
    name = f"weight decay 3e-4: output IPR at w0 = {max(groups):g} over that at {min(groups):g}"
    rows.append(Row("C4", name, "almost 10", f"{ratio:.2f}", verdict(ratio > 5)))
    return rows


def _ising(runs: Sequence[Run]) -> list[Row]:
    return [*_fisher_rows(runs, "Ising: "), *_scheme_rows(runs, "Ising: ")]


_SECTIONS: tuple[tuple[str, str, Callable[[Sequence[Run]], list[Row]]], ...] = (
    ("main text", "main-text", _main_text),
    ("batch 200", "batch-200", _batch_200),
    ("weight decay 3e-4", "strong-decay", _strong_decay),
    ("Ising", "ising", _ising),
)

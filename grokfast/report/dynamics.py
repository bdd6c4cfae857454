"""Claims D1 and D2: features in the plateau of grokking, and the overshoot of compressibility after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from grokfast.figures.choose import by_scale, seed_of
from grokfast.figures.dynamics import plateau_of
from grokfast.measures import linear_fit, mean_interval
from grokfast.report.chosen import missing_runs, runs_of
from grokfast.report.ledger import Row, claims_table, is_above_zero, verdict
from grokfast.runs import Run, RunTable
from grokfast.studies import find_study

STUDY = "main-text-dynamics"
_STUDIES = {64: STUDY, 200: "batch-200"}
_BATCHES = {
    64: {"learning": "above, by about 50 %", "grokking": "above, by about 67 %"},
    200: {"learning": "above", "grokking": "above"},
}
_IPR = {"ipr_output": "output", "ipr_input": "input", "ipr_input_separate": "input, each block"}


def dynamics_report(table: RunTable) -> str:
    """Claims D1 and D2 of the paper on modular addition, each measured with its interval, as Markdown.

    Those on the Ising task are in its own report.

    Args:
        table: Runs; those that looked at compressibility along the way are used.

    Returns:
        The page. With one seed it has no intervals.

    Raises:
        MissingRunsError: If there are no such runs with two values of w0.
        InputError: If the runs of one batch size differ in more than w0 and seed.
    """
    rows: list[Row] = []
    used, missing = [], []
    for batch, papers in _BATCHES.items():
        runs = runs_of(
            f"the report on batch {batch}",
            table,
            _STUDIES[batch],
            columns=("t_train",),
            curves=("compressibility", "ipr_output"),
        )
        groups = by_scale(runs)
        if len(groups) < 2:
            missing.append(f"- batch {batch}")
            continue
        used.append(
            f"- batch {batch}: {len(runs)} runs, w0 in {{{', '.join(f'{w0:g}' for w0 in groups)}}}, "
            f"{len({seed_of(run) for run in runs})} seeds, {runs[0].record['config']['epochs']:,} epochs"
        )
        if batch == 64:
            rows += feature_rows(groups)
        rows += overshoot_rows(groups, papers, f"batch {batch}: ")
    if not rows:
        raise missing_runs(
            "runs of modular addition at 2 values of w0 that looked at compressibility on their way", table, STUDY
        )
    command = find_study(STUDY).command
    lines = [
        "# Dynamics of modular addition: measured against claimed",
        "",
        *used,
        "",
        "Intervals are 95 % (Student's t over runs). Learning is the smallest w0, grokking the largest. Made by",
        "",
        f"    {command} --runs FOLDER",
        "    grokfast report dynamics --runs FOLDER",
        "",
        "A slope or a change agrees if its interval lies above 0.",
        "",
        *claims_table(rows),
    ]
    if missing:
        lines += ["", f"Not measured, for want of runs like those of `{command}`:", "", *missing]
    return "\n".join([*lines, ""])


def inside(run: Run, column: str, bounds: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs and values of a column within bounds, ends included."""
    epochs, values = run.seen(column)
    chosen = (epochs >= bounds[0]) & (epochs <= bounds[1])
    return epochs[chosen].astype(np.float64), values[chosen]


def feature_rows(groups: Mapping[float, Sequence[Run]]) -> list[Row]:
    """Whether the mean IPR rises in the plateau of runs that grok, and goes on rising after t_test.

    Args:
        groups: Runs by w0.
    """
    grokking = [run for members in groups.values() for run in members if run.summary["groks"]]
    bounds = {run.key: plateau_of(run) for run in grokking}
    rows = []
    for column, name in _IPR.items():
        slopes = []
        for run in grokking:
            epochs, values = inside(run, column, bounds[run.key])
            if epochs.size >= 3:
                slopes.append(linear_fit(np.log10(epochs), values).slope.mean)
        what = f"mean IPR of the {name} in the plateau of grokking, per decade of epochs"
        if not slopes:
            rows.append(Row("D1", what, "rises", "fewer than three looks in any plateau", "-"))
            continue
        slope = mean_interval(slopes)
        rows.append(
            Row("D1", what, "rises", f"{slope:.3f}; {slope.count} runs that grok", verdict(is_above_zero(slope)))
        )
    for name, w0 in (("learning", min(groups)), ("grokking", max(groups))):
        changes = []
        for run in groups[w0]:
            epochs, values = run.seen("ipr_output")
            if (epochs >= run.summary["t_test"]).any():
                changes.append(values[-1] - values[epochs >= run.summary["t_test"]][0])
        if changes:
            change = mean_interval(changes)
            rows.append(
                Row(
                    "D1",
                    f"mean IPR of the output from t_test to the end, {name}",
                    "rises",
                    f"{change:+.3f}",
                    verdict(is_above_zero(change)),
                )
            )
    return rows


def overshoot_rows(groups: Mapping[float, Sequence[Run]], papers: Mapping[str, str], prefix: str = "") -> list[Row]:
    """Compressibility right after t_test, and its highest look, against the end.

    Args:
        groups: Runs by w0.
        papers: What the paper says of ``learning`` and of ``grokking``; ``-`` for nothing.
        prefix: Of the quantity.
    """
    rows = []
    for name, w0 in (("learning", min(groups)), ("grokking", max(groups))):
        excess, peaks, when = [], [], []
        for run in groups[w0]:
            epochs, c = run.seen("compressibility")
            t_test = run.summary["t_test"]
            soon = (epochs >= t_test) & (epochs <= 2 * t_test) & (epochs < epochs[-1])
            if soon.any():
                after = epochs >= run.summary["t_train"]
                excess.append(c[soon].mean() / c[-1] - 1)
                peaks.append(c[after].max() / c[-1] - 1)
                when.append(float(epochs[after][c[after].argmax()]))
        what = f"{prefix}c right after t_test (to twice it) against the end, {name}"
        if not excess:
            rows.append(Row("D2", what, papers[name], "no look there", "-"))
            continue
        found = mean_interval(excess)
        measured = (
            f"{found:+.1%}; its highest look after t_train {mean_interval(peaks):+.1%} (never below 0), at epoch "
            f"{mean_interval(when):.0f}"
        )
        rows.append(
            Row("D2", what, papers[name], measured, "-" if papers[name] == "-" else verdict(is_above_zero(found)))
        )
    return rows

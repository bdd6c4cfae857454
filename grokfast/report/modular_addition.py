"""Measured against claimed: the paper's statements on modular addition that plain training runs can test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grokfast.figures.choose import by_scale, scale_of, seed_of
from grokfast.figures.losses import below_onset
from grokfast.measures import linear_fit, mean_interval
from grokfast.report.chosen import missing_runs, runs_of
from grokfast.report.ledger import Row, claims_table, markdown_table, verdict
from grokfast.report.onset import onset_row
from grokfast.runs import Run, RunTable, regime_of

STUDY = "main-text"
_NEEDED = ("t_train", "t_grok", "end_train_loss", "end_test_accuracy", "compressibility", "ipr_output", "ipr_input")
_TIMES = ("t_train", "t_test", "t_grok / t_train", "seeds that grok")
_HEADING = ("w0", *_TIMES, "end train loss", "test accuracy", "c", "IPR out", "IPR in", "dead")


def modular_addition_report(table: RunTable) -> str:
    """Claims G1, G2, F2 and C1 of the paper, each measured with its interval, as Markdown.

    Args:
        table: Runs; those of the main text's setting are used.

    Returns:
        The page.

    Raises:
        MissingRunsError: If there are fewer than two seeds or three values of w0.
        InputError: If the runs differ in more than w0 and seed.
    """
    runs = runs_of("the report", table, STUDY, columns=_NEEDED, exact=False)
    groups = by_scale(runs)
    seeds = sorted({seed_of(run) for run in runs})
    if len(groups) < 3 or len(seeds) < 2:
        raise missing_runs("runs of modular addition at 3 or more w0 and with 2 or more seeds", table, STUDY, runs)
    config = runs[0].record["config"]
    rows = [
        onset_row(groups, "about 0.4", lambda below, middle: below < 0.4 <= middle),
        _delay(groups),
        _accuracy(runs),
        *_ipr(groups),
        *_linear(runs, groups),
    ]
    lines = [
        "# Modular addition: measured against claimed",
        "",
        f"{len(runs)} runs: w0 in {{{', '.join(f'{w0:g}' for w0 in groups)}}}, {len(seeds)} seeds, "
        f"{config['epochs']} epochs, batch {config['batch_size']}, weight decay {config['weight_decay']:g}, "
        f"P = {config['task']['P']}. Intervals are 95 % (Student's t over seeds or runs). Runs that did not "
        f"generalise (test accuracy below half the train accuracy): "
        f"{sum(regime_of(run.summary) == 'not generalised' for run in runs)}. Made by",
        "",
        f"    grokfast sweep {STUDY} --size SIZE --runs FOLDER",
        "    grokfast report modular-addition --runs FOLDER",
        "",
        "F2 agrees where both means lie within 0.1 of 1/2; C1's line where its slope is positive over the whole "
        "interval and R² exceeds 0.8. Fits take runs as independent, although each seed's split recurs at every w0.",
        "",
        *claims_table(rows),
        "",
        "## By initialisation scale",
        "",
        *markdown_table(_HEADING, [_scale_row(w0, members) for w0, members in groups.items()]),
        "",
        "## Has it settled?",
        "",
        "Mean compressibility over seeds at earlier epochs, against the end:",
        "",
        *_settling(groups),
        "",
    ]
    return "\n".join(lines)


def _values(members: Sequence[Run], name: str) -> np.ndarray:
    return np.array([float(run.summary[name]) for run in members])


def _delay(groups: dict[float, list[Run]]) -> Row:
    delays = [_values(members, "t_grok").mean() for members in groups.values()]
    low, high = min(groups), max(groups)
    from_one = [delay for w0, delay in zip(groups, delays, strict=True) if w0 >= 1]
    return Row(
        "G1",
        "t_grok in epochs, smallest to largest w0",
        "grows smoothly with w0",
        f"{mean_interval(_values(groups[low], 't_grok')):.1f} at {low:g}, "
        f"{mean_interval(_values(groups[high], 't_grok')):.1f} at {high:g}; "
        f"rises throughout: {verdict(bool(np.all(np.diff(delays) > 0)))}; from w0 = 1 on: "
        f"{verdict(bool(np.all(np.diff(from_one) > 0)))}",
        verdict(bool(np.all(np.diff(delays) > 0))),
    )


def _accuracy(runs: Sequence[Run]) -> Row:
    ends = _values(runs, "end_test_accuracy")
    return Row(
        "G2",
        "test accuracy at the end",
        "100 % in all runs",
        f"lowest {ends.min():.2%}, exactly 100 % in {int((ends == 1).sum())} of {ends.size}, at least 99.5 % in "
        f"{int((ends >= 0.995).sum())}",
        verdict(bool((ends >= 0.995).all())),
    )


def _ipr(groups: dict[float, list[Run]]) -> list[Row]:
    learning, grokking = groups[min(groups)], groups[max(groups)]
    rows = []
    for matrix, readings in (
        ("output", ("", "_no_constant", "_complex", "_complex_no_constant")),
        ("input", ("", "_no_constant", "_separate", "_complex", "_separate_complex")),
    ):
        for reading in readings:
            learned, grokked = (
                mean_interval(_values(members, f"ipr_{matrix}{reading}")) for members in (learning, grokking)
            )
            name = (reading.strip("_").replace("_", ", ") or "default: real, constant included").replace(
                "no, constant", "without constant"
            )
            default = matrix == "output" and not reading
            rows.append(
                Row(
                    "F2",
                    f"mean IPR, {matrix} ({name})",
                    "0.53 learned, 0.43 grokked" if default else "about 1/2",
                    f"{learned:.3f} learned (w0 {min(groups):g}), {grokked:.3f} grokked (w0 {max(groups):g})",
                    verdict(abs(learned.mean - 0.5) < 0.1 and abs(grokked.mean - 0.5) < 0.1),
                )
            )
    return rows


def _linear(runs: Sequence[Run], groups: dict[float, list[Run]]) -> list[Row]:
    below = below_onset(runs)
    keys = {run.key for run in below}
    above = [run for run in runs if run.key not in keys]
    rows = []
    for name, chosen in (("below the onset", below), ("all runs", list(runs))):
        if len(chosen) < 3:
            continue
        fit = linear_fit(_values(chosen, "end_train_loss"), _values(chosen, "compressibility"))
        rows.append(
            Row(
                "C1",
                f"c against end train loss, {name}",
                "linear, rising" if name == "below the onset" else "-",
                f"slope {fit.slope:.0f} per nat, R² = {fit.r_squared:.2f}, p = {fit.p_value:.1g}, n = {len(chosen)}",
                verdict(fit.slope.low > 0 and fit.r_squared > 0.8) if name == "below the onset" else "-",
            )
        )
    scales = np.log10([scale_of(run) for run in below])
    if len(below) >= 3 and scales.min() < scales.max():
        fit = linear_fit(scales, _values(below, "compressibility"))
        rows.append(
            Row(
                "C1",
                "c below the onset, per decade of w0",
                "falls as w0 rises",
                f"{fit.slope:.2f}, p = {fit.p_value:.1g}",
                verdict(fit.slope.high < 0),
            )
        )
    scales = np.log10([scale_of(run) for run in above])
    if len(above) >= 3 and scales.min() < scales.max():
        fit = linear_fit(scales, _values(above, "compressibility"))
        rows.append(
            Row(
                "C1",
                "c above the onset, per decade of w0",
                "does not depend on w0",
                f"{fit.slope:.2f}, p = {fit.p_value:.1g}",
                verdict(fit.slope.low <= 0 <= fit.slope.high),
            )
        )
    return rows


def _scale_row(w0: float, members: Sequence[Run]) -> list[str]:
    ratios = _values(members, "t_grok") / _values(members, "t_train")
    return [
        f"{w0:g}",
        f"{mean_interval(_values(members, 't_train')):.1f}",
        f"{mean_interval(_values(members, 't_test')):.1f}",
        f"{mean_interval(ratios):.2f}",
        f"{sum(bool(run.summary['groks']) for run in members)} of {len(members)}",
        f"{mean_interval(_values(members, 'end_train_loss')):.5f}",
        f"{_values(members, 'end_test_accuracy').min():.2%} or more",
        *[f"{mean_interval(_values(members, name)):.3f}" for name in ("compressibility", "ipr_output", "ipr_input")],
        f"{_values(members, 'dead_output').mean():.0f}",
    ]


def _settling(groups: dict[float, list[Run]]) -> list[str]:
    """Means at the looks that all runs have."""
    seen = {w0: [run.seen("compressibility") for run in members] for w0, members in groups.items()}
    looks = [set(epochs.tolist()) for found in seen.values() for epochs, _ in found]
    epochs = sorted(set.intersection(*looks))
    rows = []
    for w0, found in seen.items():
        means = [np.mean([values[at == epoch][0] for at, values in found]) for epoch in epochs]
        rows.append([f"{w0:g}", *[f"{mean:.2f}" for mean in means]])
    return markdown_table(["w0", *[f"epoch {epoch}" for epoch in epochs]], rows)

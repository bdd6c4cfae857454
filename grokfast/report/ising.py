"""Measured against claimed: the paper's statements on the Ising task that plain training runs can test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grokfast.figures.choose import by_scale, scale_of, seed_of
from grokfast.figures.dynamics import last_hidden
from grokfast.measures import Estimate, linear_fit, mean_interval
from grokfast.report.chosen import missing_runs, runs_of
from grokfast.report.ising_dynamics import dynamics_rows
from grokfast.report.ledger import Row, claims_table, markdown_table, verdict
from grokfast.report.onset import onset_row
from grokfast.runs import Run, RunTable, regime_of

STUDY = "ising"


def ising_report(table: RunTable) -> str:
    """Claims G1, G2, F1, C5, D1 and D2 of the paper, each measured with its interval, as Markdown.

    Args:
        table: Runs; those of the paper's setting are used.

    Returns:
        The page. With one seed it has no intervals.

    Raises:
        MissingRunsError: If there are fewer than two values of w0.
        InputError: If the runs differ in more than w0 and seed.
    """
    runs = runs_of("the report", table, STUDY, columns=("t_train", "end_test_accuracy", "compressibility"), exact=False)
    groups = by_scale(runs)
    if len(groups) < 2:
        raise missing_runs("runs of the Ising task at 2 or more values of w0", table, STUDY, runs)
    seeds = sorted({seed_of(run) for run in runs})
    rows = [
        *[onset_row(groups, "about 3", lambda below, middle: below <= 3 <= middle), _delay(groups), *_accuracy(groups)],
        *_features(groups),
        *_compressibility(runs),
        *dynamics_rows(groups),
    ]
    config = runs[0].record["config"]
    data = config["task"]
    source = f"data set {data['data_hash']}" if data["data_file"] else f"{data['dynamics']}, {data['sweeps']} sweeps"
    lines = [
        "# Ising phases: measured against claimed",
        "",
        f"{len(runs)} runs: w0 in {{{', '.join(f'{w0:g}' for w0 in groups)}}}, {len(seeds)} seeds, "
        f"{config['epochs']:,} epochs, learning rate {config['learning_rate']:g}, "
        f"weight decay {config['weight_decay']:g}, "
        f"{data['L']}x{data['L']} snapshots ({source}), {data['train_size']} for training and "
        f"{data['test_size']} for test. Intervals are 95 % (Student's t over seeds or runs). "
        "Learning is the smallest w0, grokking the largest. Made by",
        "",
        f"    grokfast sweep {STUDY} --size SIZE --runs FOLDER",
        "    grokfast report ising --runs FOLDER",
        "",
        "Onset agrees if the paper's lies between the w0 below the median onset and the median; accuracies if the "
        "whole interval of the difference lies within 5 %; F1 if mean |r| with E exceeds 0.9 in both regimes; a "
        "plateau is flat if r changes by less than 0.05 a decade over the whole interval; slopes of c vanish if "
        "their interval holds 0. Fits take runs as independent, although each seed's split recurs at every w0.",
        "",
        *claims_table(rows),
        "",
        "## By initialisation scale",
        "",
        *_scales(groups),
        "",
        "## Has it settled?",
        "",
        "Means over seeds along the way, against the end:",
        "",
        *_settling(groups),
        "",
    ]
    return "\n".join(lines)


def _values(members: Sequence[Run], name: str) -> np.ndarray:
    """Finite values of a summary; it may be missing where every neuron is constant."""
    found = [run.summary.get(name) for run in members]
    return np.array([value for value in found if value is not None], dtype=np.float64)


def _mean(members: Sequence[Run], name: str, spec: str = ".3f") -> str:
    values = _values(members, name)
    return f"{mean_interval(values):{spec}}" if values.size else "-"


def _delay(groups: dict[float, list[Run]]) -> Row:
    delays = [_values(members, "t_grok").mean() for members in groups.values()]
    low, high = min(groups), max(groups)
    rises = bool(np.all(np.diff(delays) > 0))
    return Row(
        "G1",
        "t_grok in epochs, smallest to largest w0",
        "grows smoothly with w0",
        f"{_mean(groups[low], 't_grok', '.0f')} at {low:g}, {_mean(groups[high], 't_grok', '.0f')} at {high:g}; "
        f"rises throughout: {verdict(rises)}",
        verdict(rises),
    )


def _accuracy(groups: dict[float, list[Run]]) -> list[Row]:
    low, high = min(groups), max(groups)
    rows = []
    for split in ("test", "train"):
        name = f"end_{split}_accuracy"
        gap = _paired(groups[low], groups[high], name)
        rows.append(
            Row(
                "G2",
                f"{split} accuracy at the end",
                "about 95 %, within 5 % between the regimes" if split == "test" else "-",
                f"{_mean(groups[low], name, '.2%')} learning, {_mean(groups[high], name, '.2%')} grokking; "
                f"difference by seed {gap:.2%}",
                verdict(_inside(gap, -0.05, 0.05)) if split == "test" else "-",
            )
        )
    return rows


def _paired(one: Sequence[Run], other: Sequence[Run], name: str) -> Estimate:
    """Mean difference, other less one, over the seeds that both have; of the means if they share none."""
    first = {seed_of(run): float(run.summary[name]) for run in one}
    second = {seed_of(run): float(run.summary[name]) for run in other}
    shared = sorted(set(first) & set(second))
    if not shared:
        return mean_interval([float(np.mean(list(second.values())) - np.mean(list(first.values())))])
    return mean_interval([second[seed] - first[seed] for seed in shared])


def _inside(found: Estimate, low: float, high: float) -> bool:
    ends = (found.mean, found.mean) if found.count < 2 else (found.low, found.high)
    return low < ends[0] and ends[1] < high


def _features(groups: dict[float, list[Run]]) -> list[Row]:
    learning, grokking = groups[min(groups)], groups[max(groups)]
    layer = last_hidden(learning[0])
    rows = []
    for quantity, symbol, paper in (
        ("energy", "E", "about 0.99 in both"),
        ("abs_magnetization", "|M|", "about 0.9 in both"),
        ("magnetization", "M", "-"),
    ):
        name = f"{layer}_mean_{quantity}"
        ends = [
            mean_interval(_values(members, name)) for members in (learning, grokking) if _values(members, name).size
        ]
        agrees = verdict(len(ends) == 2 and min(end.mean for end in ends) > (0.9 if symbol == "E" else 0.8))
        rows.append(
            Row(
                "F1",
                f"mean |r| of the last hidden layer with {symbol}",
                paper,
                f"{_mean(learning, name)} learning, {_mean(grokking, name)} grokking; weighted by pre-activation "
                f"{_mean(learning, name.replace('mean', 'weighted', 1))} and "
                f"{_mean(grokking, name.replace('mean', 'weighted', 1))}",
                "-" if symbol == "M" else agrees,
            )
        )
    shares = [_share_above(members, layer) for members in (learning, grokking)]
    rows.append(
        Row(
            "F1",
            "share of the last hidden layer's neurons with |r(E)| of 0.9 or more",
            "all, in both",
            f"{shares[0]:.0%} learning, {shares[1]:.0%} grokking",
            verdict(min(share.mean for share in shares) > 0.95),
        )
    )
    for reading, what in (("conv1", "every unit"), ("channels1", "spatial means")):
        name = f"{reading}_mean_energy"
        largest = max((values.max() for m in (learning, grokking) if (values := _values(m, name)).size), default=np.nan)
        rows.append(
            Row(
                "F1",
                f"mean |r(E)| of convolution 1 ({what})",
                "none",
                f"{_mean(learning, name)} learning, {_mean(grokking, name)} grokking",
                verdict(bool(largest < 0.2)),
            )
        )
    return rows


def _share_above(members: Sequence[Run], layer: str) -> Estimate:
    return mean_interval([float((np.abs(run.arrays[f"r_{layer}"][:, 0]) >= 0.9).mean()) for run in members])


def _compressibility(runs: Sequence[Run]) -> list[Row]:
    c = _values(runs, "compressibility")
    rows = []
    for quantity, x, unit in (
        ("c against w0", np.log10([scale_of(run) for run in runs]), "per decade of w0"),
        ("c against end train loss", _values(runs, "end_train_loss"), "per nat"),
        ("c against end test loss", _values(runs, "end_test_loss"), "per nat"),
    ):
        if len(runs) < 3 or x.min() == x.max():
            continue
        fit = linear_fit(x, c)
        rows.append(
            Row(
                "C5",
                quantity,
                "no relation",
                f"slope {fit.slope:.3g} {unit}, R² = {fit.r_squared:.2f}, p = {fit.p_value:.1g}, n = {len(runs)}",
                verdict(fit.slope.low <= 0 <= fit.slope.high),
            )
        )
    spread = f"{mean_interval(c):.2f}, from {c.min():.2f} to {c.max():.2f}"
    return [*rows, Row("C5", "c of all runs", "-", spread, "-")]


def _scales(groups: dict[float, list[Run]]) -> list[str]:
    heading = ["w0", "t_train", "t_test", "t_grok / t_train", "grok", "train accuracy", "test accuracy", "c"]
    heading += ["r(E)", "r(|M|)", "constant"]
    lines = []
    for w0, members in groups.items():
        layer = last_hidden(members[0])
        ratios = mean_interval(_values(members, "t_grok") / _values(members, "t_train"))
        regimes = [regime_of(run.summary) for run in members]
        lines.append(
            [
                f"{w0:g}",
                _mean(members, "t_train", ".0f"),
                _mean(members, "t_test", ".0f"),
                f"{ratios:.2f}",
                f"{regimes.count('groks')} of {len(members)}",
                _mean(members, "end_train_accuracy", ".2%"),
                _mean(members, "end_test_accuracy", ".2%"),
                _mean(members, "compressibility", ".2f"),
                _mean(members, f"{layer}_mean_energy"),
                _mean(members, f"{layer}_mean_abs_magnetization"),
                f"{_values(members, f'{layer}_constant').mean():.0f}",
            ]
        )
    return markdown_table(heading, lines)


def _settling(groups: dict[float, list[Run]]) -> list[str]:
    total = next(iter(groups.values()))[0].record["config"]["epochs"]
    epochs = [total // 4, total // 2, 3 * total // 4, total]
    columns = ("test_accuracy", "hidden_mean_energy", "compressibility")
    heading = ["w0", *[f"{name} by {epoch:,}" for name in ("accuracy", "r(E)", "c") for epoch in epochs]]
    lines = []
    for w0, members in groups.items():
        cells = [f"{w0:g}"]
        for column in columns:
            name = column.replace("hidden", last_hidden(members[0]))
            seen = [run.seen(name) for run in members]
            for epoch in epochs:
                last = [values[at <= epoch][-1] for at, values in seen if (at <= epoch).any()]
                cells.append(f"{np.mean(last):.3f}" if last else "-")
        lines.append(cells)
    return markdown_table(heading, lines)

"""Measured against claimed: I1 to I5, the geometry of the trajectory, in every metric that was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from grokfast.errors import MissingRunsError
from grokfast.figures.choose import Group, groups_of, scale_of, the_one, title_of
from grokfast.figures.geometry import (
    STUDIES,
    Side,
    column,
    look_of,
    metric_title,
    metrics_of,
    sides,
)
from grokfast.measures import Estimate, largest_bump, mean_interval
from grokfast.report.ledger import Row, markdown_table, verdict
from grokfast.runs import Run, RunTable
from grokfast.studies import find_study

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]

_BUMPS = {"ising": "2200-2400 and 6200-6400", "modular-addition": "19-20 and 46-47"}
"""The tasks of the paper, with start and end of the bump of claim I4."""

_END = 0.1  # the last tenth of the looks is "the end"
_SMALL = 0.1  # a cosine of at most this is "about 0"
_DECADE = float(np.sqrt(10))


def geometry_report(table: RunTable) -> str:
    """Claims I1 to I5 of the paper, each measured with its interval in every metric, as Markdown.

    Args:
        table: Runs whose geometry was measured; of each task those of the smallest and of the largest w0.

    Returns:
        The page.

    Raises:
        MissingRunsError: If there are none with two scales.
        InputError: If the runs of a task differ in more than w0 and seed.
    """
    tasks = _runs_by_task(table)
    tasks = {task: runs for task, runs in tasks.items() if len(sides(runs)) == 2 and metrics_of(runs)}
    if not tasks:
        commands = "\n".join(f"  {find_study(name).command} --runs {table.store.root}" for name in STUDIES)
        raise MissingRunsError(
            f"the report needs runs at two values of w0 whose geometry was measured in a common metric, but "
            f"{table.store.root} holds none; make them with (the second: in every metric)\n{commands}"
        )
    lines = [
        "# Geometry of the trajectory: measured against claimed",
        "",
        "Made by `grokfast sweep geometry --size SIZE` and `grokfast report geometry`. Intervals are 95 % (Student's t "
        "over seeds). Learning and grokking are the runs of the smallest and of the largest w0. A peak is the largest "
        f"value over all looks; the end is the mean over the last {_END:.0%} of them; a cosine is about 0 where the "
        f"end lies within {_SMALL:g} of it; start and end of the bump are the neighbouring zero crossings of the "
        "gradient between which |s| rises most. Stiff: final g_ii of at least the threshold in the logit Fisher; in "
        "the softmax Fisher as many parameters as that, from the largest g_ii down. Yes or no: whether it agrees.",
    ]
    for task, runs in tasks.items():
        learning, grokking = sides(runs)
        look = look_of(runs[0])
        lines += [
            "",
            f"## {title_of(runs)}",
            "",
            f"{runs[0].record['config']['epochs']} epochs, f = {', '.join(look.steps)}, looks "
            f"{', '.join(look.schedules)}; learning w0 = {scale_of(learning.runs[0]):g}, grokking "
            f"w0 = {scale_of(grokking.runs[0]):g}, "
            f"{len(learning.runs)} and {len(grokking.runs)} seeds; t_test {_times(learning)} and {_times(grokking)}.",
            "",
        ]
        lines += _side_by_side(task, learning, grokking, sorted(metrics_of(runs), key=_diagonal_first))
    return "\n".join([*lines, ""])


def _runs_by_task(table: RunTable) -> dict[str, list[Run]]:
    """Runs of one setting of each task: that of a study if there is one."""
    preferred = {setting for name in STUDIES for setting in find_study(name).settings}
    groups: dict[str, list[Group]] = {}
    for group in groups_of(table, curves=("geometry_*_length",)):
        if group.runs:
            groups.setdefault(str(group.setting.fields["task.name"]), []).append(group)
    return {task: the_one(f"the report on {task}", groups[task], table, preferred).runs for task in sorted(groups)}


def _side_by_side(task: str, learning: Side, grokking: Side, metrics: Sequence[str]) -> list[str]:
    """A line for each quantity, a column for each metric."""
    claims: tuple[Callable[[str, Side, Side, str], list[Row]], ...] = (_i1, _i2, _i3, _i4, _i5)
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for claim in claims:
        for metric in metrics:
            for row in claim(task, learning, grokking, metric):
                cell = row.measured if row.verdict == "-" else f"{row.measured}: {row.verdict}"
                cells.setdefault((row.claim, row.quantity, row.paper), {})[metric] = cell
    rows = [[*names, *(found.get(metric, "-") for metric in metrics)] for names, found in cells.items()]
    return markdown_table(["claim", "quantity", "paper", *map(metric_title, metrics)], rows)


def _diagonal_first(metric: str) -> tuple[bool, bool, bool]:
    return metric.endswith("-full"), metric.startswith("softmax"), "-all" in metric


def _i1(task: str, learning: Side, grokking: Side, metric: str) -> list[Row]:
    peaks = [_over(side, metric, "cosine", lambda x, y: float(y.max())) for side in (learning, grokking)]
    where = _over(grokking, metric, "cosine", lambda x, y: float(x[y.argmax()]))
    ends = [_over(side, metric, "cosine", _end) for side in (learning, grokking)]
    if None in peaks or None in ends or where is None:
        return []
    low, high = (peak.mean for peak in peaks if peak is not None)
    ising = task == "ising"
    return [
        _claimed(
            task,
            "I1",
            "peak of S(s, s'), learning and grokking",
            "higher in grokking" + (", about 1" if ising else ""),
            f"{_text(peaks[0], '.2f')} and {_text(peaks[1], '.2f')}, the latter at epoch {_text(where, '.0f')}",
            high > low and (not ising or high > 1 - _SMALL),
        ),
        _claimed(
            task,
            "I1",
            "S at the end, learning and grokking",
            "about 0",
            f"{_text(ends[0], '.2f')} and {_text(ends[1], '.2f')}",
            _about_zero(ends),
        ),
    ]


def _i2(task: str, learning: Side, grokking: Side, metric: str) -> list[Row]:
    early = [_over(side, metric, "origin", _until(side)) for side in (learning, grokking)]
    tops = _over(grokking, metric, "origin", lambda x, y: float(y.max()))
    ends = [_over(side, metric, "origin", _end) for side in (learning, grokking)]
    learned, grokked = early
    if learned is None or grokked is None or tops is None or None in ends:
        return []
    if task == "ising":
        paper, agrees = "negative; up to 1", learned.mean < 0 and tops.mean > 1 - _SMALL
    else:
        paper, agrees = "much smaller than Ising's", tops.mean < 0.5
    return [
        _claimed(
            task,
            "I2",
            "origin similarity, mean up to t_test, learning and grokking; largest in grokking",
            paper,
            f"{_text(learned, '.2f')} and {_text(grokked, '.2f')}; {_text(tops, '.2f')}",
            agrees,
        ),
        _claimed(
            task,
            "I2",
            "origin similarity at the end, learning and grokking",
            "about 0",
            f"{_text(ends[0], '.2f')} and {_text(ends[1], '.2f')}",
            _about_zero(ends),
        ),
    ]


def _i3(task: str, learning: Side, grokking: Side, metric: str) -> list[Row]:
    if metric.endswith("-full"):
        return []
    rows = []
    for side in (learning, grokking):
        # Shares of the parameters in the decades (in g) below, around and above 0.1.
        shares = np.array([_decades(run, metric) for run in side.runs])
        below, around, above = (mean_interval(values) for values in shares.T)
        stiff = mean_interval([run.summary[f"stiff_share_{metric.replace('-', '_')}"] for run in side.runs])
        claimed = metric.startswith("logit")
        rows.append(
            _claimed(
                task,
                "I3",
                f"{side.name}: share of parameters with g in the decade around 0.1 (below, above); with g >= "
                f"{look_of(side.runs[0]).stiff or 0.1:g}",
                "a gap near 0.1 (logit Fisher)",
                f"{_text(around, '.3f')} ({_text(below, '.3f')}, {_text(above, '.3f')}); {_text(stiff, '.3f')}",
                around.mean < min(below.mean, above.mean) if claimed else None,
            )
        )
    return rows


def _i4(task: str, learning: Side, grokking: Side, metric: str) -> list[Row]:
    bumps = []
    for side in (learning, grokking):
        found = [largest_bump(*_curve(run, column(metric, "length"))) for run in side.runs]
        pairs = [pair for pair in found if pair is not None]
        if not pairs:
            bumps.append("none")
            continue
        start, end = (mean_interval([pair[k].epoch for pair in pairs]) for k in (0, 1))
        bumps.append(f"{_text(start, '.0f')} to {_text(end, '.0f')} ({len(pairs)} of {len(found)} seeds)")
    rows = [
        _claimed(
            task,
            "I4",
            "start and end of the largest bump of the length, learning; grokking",
            f"a bump over the grokking period: {_BUMPS.get(task, '')}",
            "; ".join(bumps),
            _overlaps(grokking, metric),
        )
    ]
    if look_of(learning.runs[0]).stiff:
        crossed = [_crossings(run, metric) for run in grokking.runs]
        rows.append(
            _claimed(
                task,
                "I4",
                "grokking: times that stiff and sloppy lengths cross",
                "they cross",
                _text(mean_interval(crossed), ".1f"),
                float(np.median(crossed)) >= 1,
            )
        )
    return rows


def _i5(task: str, learning: Side, grokking: Side, metric: str) -> list[Row]:
    if not look_of(learning.runs[0]).stiff:
        return []
    rows = []
    for side in (learning, grokking):
        likeness, ahead = [], []
        for run in side.runs:
            (_, stiff), (_, sloppy) = _both(run, metric, "cosine")
            if stiff.size < 3 or stiff.std() == 0 or sloppy.std() == 0:
                continue
            likeness.append(float(np.corrcoef(stiff, sloppy)[0, 1]))
            ahead.append(float((stiff - sloppy).mean()))
        if not likeness:
            continue
        r, difference = mean_interval(likeness), mean_interval(ahead)
        agrees: bool | None = None
        if side.name == "grokking":
            paper, agrees = "alike", r.mean > 0.5
        else:
            paper = "stiff is higher" if task == "ising" else "-"
            agrees = difference.mean > 0 if task == "ising" else None
        rows.append(
            _claimed(
                task,
                "I5",
                f"{side.name}: correlation of stiff and sloppy cosines; mean of stiff minus sloppy",
                paper,
                f"{_text(r, '.2f')}; {_text(difference, '.3f')}",
                agrees,
            )
        )
    return rows


def _curve(run: Run, name: str) -> Curve:
    values = run.history[name]
    seen = np.isfinite(values)
    return run.history["epoch"][seen], values[seen]


def _both(run: Run, metric: str, what: str) -> tuple[Curve, Curve]:
    """Stiff and sloppy curves at the epochs that both have."""
    stiff, sloppy = (run.history[column(metric, f"{part}_{what}")] for part in ("stiff", "sloppy"))
    seen = np.isfinite(stiff) & np.isfinite(sloppy)
    epochs = run.history["epoch"][seen]
    return (epochs, stiff[seen]), (epochs, sloppy[seen])


def _over(
    side: Side, metric: str, what: str, value: Callable[[NDArray[np.int64], NDArray[np.float64]], float]
) -> Estimate | None:
    """A number of every seed's curve, with its interval; None where no seed has one."""
    found = [_curve(run, column(metric, what)) for run in side.runs]
    numbers = [value(x, y) for x, y in found if y.size]
    return mean_interval(numbers) if numbers else None


def _end(x: NDArray[np.int64], y: NDArray[np.float64]) -> float:
    return float(y[-max(1, round(_END * len(y))) :].mean())


def _until(side: Side) -> Callable[[NDArray[np.int64], NDArray[np.float64]], float]:
    times = [run.summary["t_test"] for run in side.runs if run.summary.get("t_test") is not None]
    last = float(np.mean(times)) if times else np.inf
    return lambda x, y: float(y[x <= max(last, x[0])].mean())


def _decades(run: Run, metric: str) -> list[float]:
    """Shares of the parameters with g within half a decade of 0.01, 0.1 and 1, from the stored spectrum."""
    ranks, spectrum = run.arrays["spectrum_ranks"], run.arrays[f"spectrum_{metric.replace('-', '_')}"]
    size = float(ranks[-1] + 1)

    def at_least(g: float) -> float:
        return float(np.interp(-g, -spectrum, ranks + 1.0, left=0.0, right=size)) / size

    edges = [at_least(10**power / _DECADE) for power in (-2, -1, 0, 1)]
    return [low - high for low, high in pairwise(edges)]


def _overlaps(side: Side, metric: str) -> bool:
    """Whether the bump lies between train and test learning times, at least in part, in most seeds."""
    hits = []
    for run in side.runs:
        bump = largest_bump(*_curve(run, column(metric, "length")))
        t_train, t_test = run.summary.get("t_train"), run.summary.get("t_test")
        if bump is None or t_train is None or t_test is None:
            hits.append(False)
        else:
            hits.append(bump[0].epoch <= t_test and bump[1].epoch >= t_train)
    return float(np.mean(hits)) > 0.5


def _crossings(run: Run, metric: str) -> int:
    (_, stiff), (_, sloppy) = _both(run, metric, "length")
    signs = np.sign(stiff - sloppy)
    signs = signs[signs != 0]
    return int((np.diff(signs) != 0).sum())


def _text(value: Estimate | None, spec: str) -> str:
    """The mean, with its interval where there are two seeds or more."""
    if value is None:
        return "-"
    return format(value.mean, spec) if value.count < 2 else format(value, spec)


def _about_zero(ends: Sequence[Estimate | None]) -> bool:
    return all(end is not None and abs(end.mean) <= _SMALL for end in ends)


def _claimed(task: str, claim: str, quantity: str, paper: str, measured: str, agrees: bool | None) -> Row:
    """A line of the ledger; of tasks that are not the paper's what was measured alone."""
    if task not in _BUMPS:
        return Row(claim, quantity, "-", measured, "-")
    return Row(claim, quantity, paper, measured, "-" if agrees is None else verdict(agrees))


def _times(side: Side) -> str:
    times = [run.summary["t_test"] for run in side.runs if run.summary.get("t_test") is not None]
    return _text(mean_interval(times), ".0f") if times else "unknown"

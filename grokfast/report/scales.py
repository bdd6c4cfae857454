"""Tables by initialisation scale, of any task: learning times, ends, features, whether they have settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from grokfast.errors import InputError
from grokfast.figures.choose import by_scale
from grokfast.figures.kept import described, measured, still_rising
from grokfast.measures import mean_interval, share_interval
from grokfast.report.claims import median_range
from grokfast.report.markdown import markdown_table
from grokfast.report.wording import digits, interval
from grokfast.runs import Run

_MOST = 5  # columns beside w0
_TIMES = ("t_train", "t_test", "t_grok")
_SHARES = ("end_test_accuracy", "size_at_5_percent_drop")
_ENDS = {
    "end_train_loss": "end train loss",
    "end_test_loss": "end test loss",
    "end_test_accuracy": "test accuracy",
    "compressibility": "c",
    "size_at_5_percent_drop": "weights for 95 %",
}


def scale_lines(runs: Sequence[Run], level: int = 2) -> list[str]:
    """Four tables of the runs of one setting, a line a w0: times, ends, features, c along the way.

    Times are medians with the range of the seeds; the rest are means with 95 % intervals.

    Args:
        runs: Runs of one setting.
        level: Of the headings.
    """
    groups = by_scale(runs)
    head = "#" * level
    lines = [f"{head} Learning times by w0", "", f"Median and range of the seeds, epochs.{_left_out(groups)}", ""]
    heading = ["w0", *_TIMES, "grok", "did not generalise"]
    lines += [*markdown_table(heading, [_times(w0, members) for w0, members in groups.items()]), ""]
    ends = {column: name for column, name in _ENDS.items() if _any(runs, column)}
    lines += [f"{head} End of training by w0", "", *_means(groups, ends), ""]
    features = {column.name: column.name for column in described(runs[0]).values() if column.headline}
    own = {name: title for name, title in features.items() if name not in _ENDS and _any(runs, name)}
    if own:
        lines += [f"{head} Features by w0", "", *_means(groups, dict(list(own.items())[:_MOST])), ""]
    settled = _settling(groups)
    return [*lines, f"{head} Compressibility along the way", "", *settled, ""] if settled else lines


def _times(w0: float, members: Sequence[Run]) -> list[str]:
    cells = [f"{w0:g}"]
    for name in _TIMES:
        found = median_range([_number(run.summary.get(name)) for run in members if not still_rising(run)])
        same = found is not None and found.low == found.high
        cells.append("-" if found is None else digits(found.mean, 0) if same else interval(found, ",.0f"))
    regimes = [run.regime for run in members if run.regime is not None]
    counts = [f"{regimes.count(name)} of {len(regimes)}" for name in ("groks", "not generalised")]
    return [*cells, *(counts if regimes else ["-", "-"])]


def _left_out(groups: dict[float, list[Run]]) -> str:
    """Whose learning times are no part of the table."""
    rising = {w0: sum(map(still_rising, members)) for w0, members in groups.items()}
    named = [f"{rising[w0]} of {len(groups[w0])} at w0 = {w0:g}" for w0 in groups if rising[w0]]
    if not named:
        return ""
    return (
        f" Left out of the times, since their accuracy still rose in the last tenth: {', '.join(named)}; the last two "
        "columns count them by how they ended."
    )


def _means(groups: dict[float, list[Run]], columns: dict[str, str]) -> list[str]:
    rows = []
    for w0, members in groups.items():
        cells = [f"{w0:g}"]
        for column in columns:
            values = _finite(measured(run).get(column) for run in members)
            estimate = share_interval if column in _SHARES else mean_interval
            cells.append(interval(estimate(values)) if values else "-")
        rows.append(cells)
    return markdown_table(["w0", *columns.values()], rows)


def _settling(groups: dict[float, list[Run]]) -> list[str]:
    """Mean c over seeds by each quarter of the training; nothing without looks on the way."""
    total = max(int(run.record["config"]["epochs"]) for members in groups.values() for run in members)
    epochs = [total // 4, total // 2, 3 * total // 4, total]
    rows, looked = [], False
    for w0, members in groups.items():
        cells = [f"{w0:g}"]
        for epoch in epochs:
            found = [_by(run, epoch) for run in members]
            values = _finite(found)
            looked |= bool(values) and epoch < total
            cells.append(f"{np.mean(values):.2f}" if values else "-")
        rows.append(cells)
    return markdown_table(["w0", *[f"c by epoch {epoch:,}" for epoch in epochs]], rows) if looked else []


def _by(run: Run, epoch: int) -> float:
    try:
        at, values = run.seen("compressibility")
    except InputError:
        return float("nan")
    before = at <= epoch
    return float(values[before][-1]) if before.any() else float("nan")


def _any(runs: Sequence[Run], column: str) -> bool:
    return any(column in measured(run) for run in runs)


def _finite(values: Iterable[object]) -> list[float]:
    return [number for value in values if np.isfinite(number := _number(value))]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")

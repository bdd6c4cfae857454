"""The page of all columns, from the registries of measures and tasks: ``docs/columns.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grokfast.measures import Column, Kind
from grokfast.observe import (
    ENDS,
    FULL_ENDS,
    FULL_TIMES,
    FULL_TRAIN,
    MEASURES,
    METRICS,
    TIMES,
    GeometryMeasure,
    Measure,
)
from grokfast.tasks import TASKS, Task

_WHERE = {
    Kind.SCALAR: "history, summary",
    Kind.END: "summary",
    Kind.ARRAY: "array",
}

_HEAD = """# Columns

Everything that runs record, from the registry of measures; this page is written by
`python -c "from grokfast.report.columns import columns_page; print(columns_page(), end='')"`. *History* is a number a
look (`run.history`), *summary* a number a run (a column of `grokfast runs`, SQL and figures), *array* lies beside the
end model (`run.arrays`). Columns in bold are shown first. What depends on the task or its network is listed for each
task as it is by default. Losses are in nats where a task lowers a cross entropy; a squared error, a hinge or a loss of
one's own has no unit.

A column of your own: [own-measure.md](own-measure.md).
"""


def columns_page() -> str:
    """All columns of the registered measures, for the registered tasks, as Markdown."""
    tasks = {name: kind() for name, kind in sorted(TASKS.items())}
    parts = [_HEAD, _section("Every run", [*METRICS, *ENDS, *TIMES])]
    parts.append(_section('With `train_metrics="full"`', [*FULL_TRAIN, *FULL_ENDS, *FULL_TIMES]))
    for measure in [*MEASURES.values(), GeometryMeasure("softmax-all")]:
        parts += _measure(measure, tasks)
    return "\n".join(parts)


def _measure(measure: Measure, tasks: Mapping[str, Task]) -> list[str]:
    given = {name: tuple(measure.columns(task)) for name, task in tasks.items()}
    needs = (
        f"\nNeeds {', '.join(sorted(measure.needs))}; one look costs about {measure.cost:g} passes over the test data."
    )
    title = f"`{measure.name}`"
    shared = [column for column in next(iter(given.values()), ()) if all(column in found for found in given.values())]
    parts = [_section(title, shared, needs)]
    for name, found in given.items():
        own = [column for column in found if column not in shared]
        if own:
            parts.append(_section(f"{title} of {name}", own, level=3))
    return parts


def _section(title: str, columns: Sequence[Column], text: str = "", level: int = 2) -> str:
    lines = [f"{'#' * level} {title}{chr(10) if text else ''}{text}", ""]
    if columns:
        lines += ["| column | meaning | unit | where |", "|---|---|---|---|", *map(_row, columns), ""]
    return "\n".join(lines)


def _row(column: Column) -> str:
    name = f"**`{column.name}`**" if column.headline else f"`{column.name}`"
    meaning = column.meaning.replace("|", "\\|")
    return f"| {name} | {meaning} | {column.unit} | {_WHERE[column.kind]} |"

"""Runs of several settings by what they were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grokfast.figures.choose import scale_of, task_of
from grokfast.runs import Run

COMPRESSIVE = 0.4
"""Compressive scales are w0 up to this."""

ABOVE = 1.0
"""Scales above the compressive ones are w0 from this."""


def having(runs: Sequence[Run], **fields: Any) -> list[Run]:
    """Runs whose configuration has these values; ``task`` is the task's name, ``noise`` its label noise.

    Args:
        runs: Runs.
        fields: Values by name of the field.
    """
    return [run for run in runs if all(_value(run, name) == value for name, value in fields.items())]


def _value(run: Run, name: str) -> Any:
    config = run.record["config"]
    if name == "task":
        return task_of(run)
    if name == "noise":
        return config["task"].get("label_noise", 0.0)
    return config["task"][name.removeprefix("task_")] if name.startswith("task_") else config[name]


def values_by(runs: Sequence[Run], name: str) -> dict[Any, list[Run]]:
    """Runs grouped by a field of their configuration, rising."""
    found: dict[Any, list[Run]] = {}
    for run in runs:
        found.setdefault(_value(run, name), []).append(run)
    return {value: found[value] for value in sorted(found)}


def compressive(runs: Sequence[Run]) -> list[Run]:
    """Those at compressive scales."""
    return [run for run in runs if scale_of(run) <= COMPRESSIVE]


def above(runs: Sequence[Run]) -> list[Run]:
    """Those above."""
    return [run for run in runs if scale_of(run) >= ABOVE]

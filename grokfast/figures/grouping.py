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
    """Runs whose configuration has these values.

    ``task`` is the task's name, ``task_words`` what :func:`task_words` calls it, ``noise`` its label noise, ``loss``
    its loss.

    Args:
        runs: Runs.
        fields: Values by name of the field.
    """
    return [run for run in runs if all(_value(run, name) == value for name, value in fields.items())]


def _value(run: Run, name: str) -> Any:
    config = run.record["config"]
    if name == "task":
        return task_of(run)
    if name == "task_words":
        return task_words(run)
    if name == "noise":
        return config["task"].get("label_noise", 0.0)
    if name == "loss":  # of a run from before a task had one it is the one that all had
        return config["task"].get("loss", "cross-entropy")
    return config["task"][name.removeprefix("task_")] if name.startswith("task_") else config[name]


def task_words(run: Run) -> str:
    """What a run's task is called where several are told apart: its name, with what is done or lowered if it says."""
    fields = run.record["config"]["task"]
    name = f"{fields['operation']} mod {fields['P']}" if "operation" in fields else task_of(run)
    return f"{name}, {fields['loss']}" if task_of(run) == "mnist" else name


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

"""From a run's record to its row in the table: flat, of plain values, no two names alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from grokfast.errors import StoreError
from grokfast.training import SCHEMA, RunConfig, look_fields
from grokfast.training.fields import introduced_fields

ROWS = 6
"""Version of what :func:`row_of` computes: raise it with every change, so that indices are made anew."""


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """One flat row.

    Where two names differ in case alone, or not at all, SQL could not tell them apart: what was measured is then
    called ``measured_<name>``, and a field of the task ``task_<name>``.

    Raises:
        StoreError: If a later version of grokfast wrote the record.
    """
    if record["schema"] > SCHEMA:
        raise StoreError(
            f"run {record['key']} was written by a later version of grokfast (schema {record['schema']}, this one "
            f"knows {SCHEMA}): upgrade with `pip install -U grokfast`"
        )
    config = {
        **introduced_fields(RunConfig),
        **record["config"],
        **look_fields(record["looks"], record["config"]["epochs"]),
    }
    task = dict(config.pop("task"))
    row = {"key": record["key"], "task": task.pop("name"), **config}
    row |= {"status": record["status"], "diverged_epoch": record["diverged_epoch"], "reason": record.get("reason")}
    row |= {"seconds": record["seconds"], "parent": record.get("parent")}
    row["regime"] = regime_in(record)
    taken = {name.lower() for name in row}
    for prefix, more in (("task_", task), ("measured_", summary_of(record))):
        for name, value in more.items():
            free = f"{prefix}{name}" if name.lower() in taken else name
            taken.add(free.lower())
            row[free] = value
    return {name: _cell(value) for name, value in row.items()}


def join_names(rows: Sequence[dict[str, Any]], fields_of: Callable[[str], Collection[str]]) -> None:
    """Let every column of rows of several tasks be one thing under one name, in place.

    A name that is a field of one task and was measured in runs of another is ``measured_<name>`` there; names that
    differ in case alone, which SQL cannot tell apart, are one column, as one field of two tasks is.

    Args:
        rows: As :func:`row_of` makes them.
        fields_of: The names of the fields of a run's task, by the run's key.
    """
    kinds: dict[tuple[str, frozenset[str]], list[dict[str, Any]]] = {}
    for row in rows:
        kinds.setdefault((row["task"], frozenset(row)), []).append(row)
    if len({task for task, _ in kinds}) < 2:
        return
    fields = {kind: set(fields_of(alike[0]["key"])) for kind, alike in kinds.items()}
    of_tasks = {name.lower() for kind in kinds for name in kind[1] & fields[kind]}
    spelled: dict[str, str] = {}
    for kind, alike in kinds.items():
        new = {}
        for name in alike[0]:
            measured = name not in fields[kind] and name.lower() in of_tasks
            free = f"measured_{name}" if measured else name
            new[name] = spelled.setdefault(free.lower(), free)
        if any(name != other for name, other in new.items()):
            for row in alike:
                values = [(new[name], value) for name, value in row.items()]
                row.clear()
                row.update(values)


def regime_of(summary: Mapping[str, Any]) -> str:
    """``"groks"`` or ``"learns"`` by definition 2, or ``"not generalised"``.

    The definition compares each accuracy with its own maximum and so says nothing about a run whose test accuracy
    never rose; one that ends nearer to chance, the share of the most frequent test label, than to its train accuracy
    is called not generalised. Runs of earlier versions do not say what chance was: 0 is taken for them.

    Args:
        summary: A run's summary.
    """
    # Runs of the first schema may have taken the accuracy of the whole train split alone.
    taken = "_full" if summary.get("end_train_accuracy") is None and "end_train_accuracy_full" in summary else ""
    learned = summary.get(f"t_train{taken}") is not None
    half = 0.5 * (summary[f"end_train_accuracy{taken}"] + (summary.get("chance") or 0.0)) if learned else 0.0
    if not learned or summary["end_test_accuracy"] < half:
        return "not generalised"
    return "groks" if summary[f"groks{taken}"] else "learns"


def regime_in(record: Mapping[str, Any]) -> str | None:
    """The regime of a run by its record, ``"diverged"`` too; None for a failed run, or one without accuracy."""
    if record["status"] == "diverged":
        return "diverged"
    known = record["status"] == "finished" and record["summary"].get("end_test_accuracy") is not None
    return regime_of(record["summary"]) if known else None


def summary_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a run's record, without what earlier versions meant by the same name.

    The end of the plateau was the first epoch above 1 % of the maximum, of every run, before ``settled`` was recorded.
    """
    summary = dict(record["summary"])
    if "settled" not in summary:
        summary.pop("plateau_end", None)
    return summary


def _cell(value: Any) -> Any:
    """Lists are text: the widths of layers joined by x, texts by +."""
    if not isinstance(value, list | tuple):
        return value
    return ("+" if any(isinstance(part, str) for part in value) else "x").join(map(str, value))

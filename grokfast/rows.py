"""From a run's record to its row in the table: flat, of plain values, no two names alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokfast.errors import StoreError
from grokfast.training import SCHEMA, look_fields

ROWS = 4
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
    config = {**record["config"], **look_fields(record["looks"], record["config"]["epochs"])}
    task = dict(config.pop("task"))
    row = {"key": record["key"], "task": task.pop("name"), **config}
    row |= {"status": record["status"], "diverged_epoch": record["diverged_epoch"], "reason": record.get("reason")}
    row |= {"seconds": record["seconds"], "parent": record.get("parent")}
    taken = {name.lower() for name in row}
    for prefix, more in (("task_", task), ("measured_", record["summary"])):
        for name, value in more.items():
            free = f"{prefix}{name}" if name.lower() in taken else name
            taken.add(free.lower())
            row[free] = value
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Any:
    """Lists are text: the widths of layers joined by x, texts by +."""
    if not isinstance(value, list | tuple):
        return value
    return ("+" if any(isinstance(part, str) for part in value) else "x").join(map(str, value))

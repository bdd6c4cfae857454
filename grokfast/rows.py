"""From a run's record to its row in the table: flat, of plain values, no two names alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from grokfast.errors import StoreError
from grokfast.training import SCHEMA, introduced

ROWS = 3
"""Version of what :func:`row_of` computes: raise it with every change, so that indices are made anew."""

_NUMBERS = ("w0", "weight_decay", "learning_rate", "batch_size", "seed", "epochs", "seconds")


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """One flat row; a value that fits no column is an error that names it, so that only its run is left out.

    Where two names differ in case alone, or not at all, SQL could not tell them apart: what was measured is then
    called ``measured_<name>``.
    """
    if record["schema"] > SCHEMA:
        raise StoreError(
            f"run {record['key']} was written by a later version of grokfast (schema {record['schema']}, this one "
            f"knows {SCHEMA}): upgrade with `pip install -U grokfast`"
        )
    config = {**introduced(), **record["config"]}
    task = dict(config.pop("task"))
    row = {"key": record["key"], "task": task.pop("name"), **config}
    row |= {"status": record["status"], "diverged_epoch": record["diverged_epoch"], "reason": record.get("reason")}
    row |= {"seconds": record["seconds"]}
    taken = {name.lower() for name in row}
    for prefix, more in (("task_", task), ("measured_", record["summary"])):
        for name, value in more.items():
            free = f"{prefix}{name}" if name.lower() in taken else name
            taken.add(free.lower())
            row[free] = value
    return {name: _cell(record["key"], name, value) for name, value in row.items()}


def _cell(key: str, name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        value = "x".join(map(str, value))
    elif isinstance(value, dict):
        value = json.dumps(value, sort_keys=True)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    wrong = name in _NUMBERS and not number
    wrong |= isinstance(value, int) and not -(2**63) <= value < 2**63
    if wrong or not (value is None or isinstance(value, str | bool | int | float)):
        raise StoreError(f"run {key} is damaged: {name} is {value!r} in its record")
    return value

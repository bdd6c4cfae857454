"""Settings: what runs have in common that differ in nothing but w0 and seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grokfast.store.identity import declared_defaults, identity
from grokfast.tasks import TASKS
from grokfast.training import RunConfig
from grokfast.training.fields import introduced_fields

APART = ("w0", "seed")
"""Fields in which runs of one setting may differ."""


@dataclass(frozen=True)
class Setting:
    """One setting, comparable and hashable.

    Attributes:
        text: Its fields as canonical JSON; those of the task are called ``task.P``.
    """

    text: str

    @property
    def fields(self) -> dict[str, Any]:
        """Values by name."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def of_any_length(self) -> Setting:
        """The setting without the number of epochs."""
        return self.without("epochs")

    def without(self, *names: str) -> Setting:
        """The setting but for some fields."""
        return _setting({name: value for name, value in self.fields.items() if name not in names})


def setting_of(training: Mapping[str, Any]) -> Setting:
    """The setting of a run.

    Args:
        training: What was trained as plain values: ``config`` of its record, or :meth:`RunConfig.training`. Fields that
            the optimiser does not read are no part of a setting, nor are those that say where the task's data lie.
    """
    kind = TASKS.get(training["task"]["name"])
    # A run stored before its task, or all runs, gained a field was trained with what the field was introduced with.
    whole = {
        **introduced_fields(RunConfig),
        **training,
        "task": {**(declared_defaults(kind) if kind else {}), **training["task"]},
    }
    values = identity(whole, defaults={}, unkeyed=getattr(kind, "unkeyed", ()))
    task = values.pop("task")
    return _setting(
        {
            **{name: value for name, value in values.items() if name not in APART},
            **{f"task.{name}": value for name, value in task.items()},
        }
    )


def is_alike(setting: Setting, wanted: Setting) -> bool:
    """Whether a setting is the one that is wanted, but for its length and the size of the task."""
    return setting.fields["task.name"] == wanted.fields["task.name"] and _without_task(setting) == _without_task(wanted)


def _without_task(setting: Setting) -> Setting:
    """But for its length and the task's own fields; a batch of the whole train split is one at any size of it."""
    fields = setting.of_any_length.fields
    whole = ["batch_size"] if fields.get("task.train_size") == fields["batch_size"] else []
    return setting.of_any_length.without(*whole, *(name for name in fields if name.startswith("task.")))


def varying(settings: Sequence[Setting]) -> list[str]:
    """Names of the fields in which settings differ."""
    fields = [setting.fields for setting in settings]
    names = dict.fromkeys(name for values in fields for name in values)
    return [name for name in names if len({json.dumps(values.get(name)) for values in fields}) > 1]


def _setting(values: Mapping[str, Any]) -> Setting:
    return Setting(json.dumps(values, sort_keys=True))

"""Settings: what runs have in common that differ in nothing but w0 and seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grokfast.tasks import TASKS

_APART = ("w0", "seed")


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


def setting_of(config: Mapping[str, Any]) -> Setting:
    """The setting of a run.

    Args:
        config: Its configuration as plain values: ``config`` of its record, or :meth:`RunConfig.to_dict`. What is
            looked at is no part of a setting, nor are fields that the optimiser does not read.
    """
    values = {name: value for name, value in config.items() if name not in (*_APART, "task", *_LOOKS)}
    unread = _UNREAD.get(str(config["optimizer"]), ())
    values = {name: value for name, value in values.items() if name not in unread}
    task = dict(config["task"])
    unkeyed = getattr(TASKS.get(task["name"]), "unkeyed", ())
    return _setting({**values, **{f"task.{name}": value for name, value in task.items() if name not in unkeyed}})


def varying(settings: Sequence[Setting]) -> list[str]:
    """Names of the fields in which settings differ."""
    fields = [setting.fields for setting in settings]
    names = dict.fromkeys(name for values in fields for name in values)
    return [name for name in names if len({json.dumps(values.get(name)) for values in fields}) > 1]


def _setting(values: Mapping[str, Any]) -> Setting:
    return Setting(json.dumps(_plain(values), sort_keys=True))


def _plain(value: Any) -> Any:
    """One spelling of each number: 1 for 1.0."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


_LOOKS = (
    "checkpoint_schedule",
    "feature_schedule",
    "compressibility_schedule",
    "test_schedule",
    "train_metrics",
    "geometry",
    "geometry_schedule",
    "geometry_step",
    "geometry_stiff",
    "observe",
)
_UNREAD = {"sgd": ("beta1", "beta2", "eps"), "adam": ("momentum",), "adamw": ("momentum",)}

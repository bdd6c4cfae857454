"""What is looked at while a run trains: schedules by name, joined, compared, and put back into a configuration.

Names of looks are ``checkpoints``, ``features``, ``compressibility``, ``test`` (test passes), ``full_train`` (passes
over the train split), ``geometry:<metric>:<step>:<stiff>`` for each metric, and the reference of each measure that
:attr:`grokfast.training.RunConfig.observe` names. A run whose geometry is split by stiffness has the look of the
unsplit one as well. Looks of observers that were given as objects begin with ``object:``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from grokfast.errors import ConfigError
from grokfast.observe import canonical_schedule, covers, union
from grokfast.store.identity import canonical

if TYPE_CHECKING:
    from grokfast.observe import Observer
    from grokfast.tasks import Task
    from grokfast.training.config import RunConfig

Looks = Mapping[str, Sequence[str]]

OBJECT = "object:"
"""How looks of observers that were given as objects begin."""

_FIELDS = {
    "checkpoints": "checkpoint_schedule",
    "features": "feature_schedule",
    "compressibility": "compressibility_schedule",
    "test": "test_schedule",
}
_FULL, _GEOMETRY = "full_train", "geometry:"

LOOK_FIELDS = frozenset(
    {
        *_FIELDS.values(),
        "train_metrics",
        "geometry",
        "geometry_schedule",
        "geometry_step",
        "geometry_stiff",
        "observe",
    }
)
"""Fields of a configuration that say what is looked at."""


def looks_of(config: RunConfig) -> dict[str, list[str]]:
    """The looks of a configuration; those that are always taken at the last epoch say so."""
    epochs = config.epochs
    looks = {name: list(_parts(getattr(config, field), epochs, True)) for name, field in _FIELDS.items()}
    if config.train_metrics == "full":
        looks[_FULL] = ["every:1"]
    for metric in filter(None, config.geometry.split("+")):
        for border in sorted({0.0, config.geometry_stiff}):
            name = f"{_GEOMETRY}{metric}:{config.geometry_step}:{canonical(border)}"
            looks[name] = list(_parts(config.geometry_schedule, epochs, False))
    for entry in config.observe:
        reference, _, schedule = entry.rpartition("@")
        looks[reference] = list(_parts(union([*looks.get(reference, []), schedule]), epochs, True))
    return looks


def look_fields(looks: Looks, epochs: int) -> dict[str, Any]:
    """The fields of a configuration that ask for looks, all of :data:`LOOK_FIELDS`.

    Looks of observers that were given as objects are left out: no configuration can ask for them.

    Args:
        looks: Schedules by name, in any spelling.
        epochs: Length of the run.

    Raises:
        ConfigError: If geometry is asked for at two steps or with two borders of stiffness, whose columns have the
            same names.
    """
    fields: dict[str, Any] = {
        field: _joined([*looks.get(name, []), "last"], epochs, always_last=True) for name, field in _FIELDS.items()
    }
    fields["train_metrics"] = "full" if looks.get(_FULL) else "running"
    others = [n for n in looks if n not in _FIELDS and n != _FULL and not n.startswith((_GEOMETRY, OBJECT))]
    fields["observe"] = tuple(f"{name}@{_joined(looks[name], epochs, always_last=True)}" for name in others)
    return {**fields, **_geometry(looks, epochs)}


def with_looks(config: RunConfig, looks: Looks) -> RunConfig:
    """The configuration that looks at what it asks for and at ``looks`` besides."""
    return dataclasses.replace(config, **look_fields(joined_looks(looks_of(config), looks), config.epochs))


def only_looks(config: RunConfig, looks: Looks) -> RunConfig:
    """The configuration that looks at ``looks`` and nothing else, such as a stored run's."""
    return dataclasses.replace(config, **look_fields(looks, config.epochs))


def missing_looks(wanted: Looks, held: Looks, epochs: int) -> dict[str, list[str]]:
    """Those of ``wanted`` that ``held`` does not cover: whose epochs it has not all looked at."""
    found = {}
    for name, at in wanted.items():
        # All but these two kinds are always taken at the last epoch, too.
        end = () if name.startswith((_GEOMETRY, OBJECT)) else ("last",)
        if name not in held or not _covers((*held[name], *end), tuple(at), epochs):
            found[name] = list(at)
    return found


@functools.lru_cache(maxsize=4096)
def _covers(held: tuple[str, ...], wanted: tuple[str, ...], epochs: int) -> bool:
    return set(wanted) <= set(held) or covers(union(held), union(wanted), epochs)


def joined_looks(*several: Looks) -> dict[str, list[str]]:
    """All of several looks."""
    found: dict[str, list[str]] = {}
    for looks in several:
        for name, at in looks.items():
            found[name] = list(dict.fromkeys([*found.get(name, []), *at]))
    return found


def observer_looks(observers: Sequence[Observer], task: Task) -> tuple[dict[str, list[str]], list[str]]:
    """Looks of observers given as objects, and the descriptions of those that cannot be told from others.

    A measure is known by its ``name`` and the columns that it declares, or as a function by its module and name.
    Functions made inside others and instances of classes without a ``name`` may measure one thing today and another
    tomorrow.
    """
    looks: dict[str, list[str]] = {}
    nameless: list[str] = []
    for observer in observers:
        measure: Any = observer.measure
        name = getattr(measure, "name", None)
        if not isinstance(name, str) or not name:
            place, inner = getattr(measure, "__module__", ""), getattr(measure, "__qualname__", "<")
            name = "" if "<" in inner or place == "__main__" else f"{place}:{inner}"
        elif callable(getattr(measure, "columns", None)):
            # A measure that cannot tell them is refused by name before the first epoch.
            with suppress(Exception):
                name += "=" + "+".join(column.name for column in measure.columns(task))
        if name:
            look = f"{OBJECT}{name}"
            looks[look] = [*looks.get(look, []), observer.schedule]
        else:
            nameless.append(getattr(measure, "__qualname__", type(measure).__qualname__))
    return looks, nameless


@functools.lru_cache(maxsize=4096)
def _parts(schedule: str, epochs: int, always_last: bool) -> tuple[str, ...]:
    """The schedules that a joined one consists of; ``last`` is left out beside others where it is always meant."""
    parts = canonical_schedule(f"{schedule},last" if always_last else schedule, epochs).split(",")
    return tuple(part for part in parts if part != "last" or not always_last or len(parts) == 1)


def _joined(schedules: Sequence[str], epochs: int, *, always_last: bool = False) -> str:
    return ",".join(_parts(union(schedules), epochs, always_last))


def _geometry(looks: Looks, epochs: int) -> dict[str, Any]:
    names = [name.split(":")[1:] for name in looks if name.startswith(_GEOMETRY)]
    if not names:
        return {"geometry": "", "geometry_schedule": "every:1", "geometry_step": 1, "geometry_stiff": 0.0}
    steps = sorted({int(step) for _, step, _ in names})
    stiff = sorted({float(border) for _, _, border in names} - {0.0})
    for what, found in (("steps", steps), ("borders of stiffness", stiff)):
        if len(found) > 1:
            raise ConfigError(
                f"geometry at the {what} {' and '.join(map(str, found))} has columns of the same names: "
                "one run can hold one of them; train the other in a store of its own"
            )
    schedules = [part for name, at in looks.items() if name.startswith(_GEOMETRY) for part in at]
    return {
        "geometry": "+".join(sorted({metric for metric, _, _ in names})),
        "geometry_schedule": _joined(schedules, epochs),
        "geometry_step": steps[0],
        "geometry_stiff": stiff[0] if stiff else 0.0,
    }

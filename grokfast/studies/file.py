"""Sweep files: TOML that names many runs in a few lines.

::

    title = "Accuracy and loss by initialisation scale"
    figures = ["fig02b"]             # optional, of a study: the figures that its runs are for

    [run]                            # fields of RunConfig that all runs share
    epochs = 1000
    task = { name = "modular-addition", P = 113 }

    [grid]                           # every combination of these values
    w0 = [0.1, 1, 10]
    seed = { first = 0, count = 5 }  # 0, 1, 2, 3, 4

    [[paired]]                       # optional: values that change together, first with first, second with second
    batch_size = [64, 256, "full"]
    learning_rate = [1e-3, 2e-3, 4e-3]

    [[list]]                         # optional: each entry is combined with the whole grid
    weight_decay = 3e-5
    [[list]]
    weight_decay = 3e-4
    grid = { batch_size = [64, 200] }  # optional: a grid of this entry alone

    [sizes.quick.run]                # optional: sizes, each overriding parts of the above
    epochs = 150

Any field of :class:`grokfast.training.RunConfig` may stand in ``run``, ``grid``, ``paired`` and ``list``; a field of
the task is written ``task.P``, or inside ``task = { ... }`` under ``run``. A task of your own is named by where it is
defined: ``task = { name = "my_tasks:ModularProduct" }``.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokfast._checks import nearest
from grokfast.errors import ConfigError
from grokfast.tasks import ModularAddition
from grokfast.training import RunConfig
from grokfast.training.stored import united

MOST_RUNS = 1_000_000
"""Runs that one sweep may have."""

_TABLES = ("title", "figures", "run", "grid", "paired", "list", "sizes")
_RUNS = ("run", "grid", "paired", "list")
_ARRAYS = ("paired", "list")


@dataclass(frozen=True)
class Sweep:
    """Many runs with a title.

    Args:
        title: What they are for.
        configs: The runs, all different. Those that differ in nothing but what they look at become one that looks at
            all of it.

    Raises:
        ConfigError: If there is none, or two are equal.
    """

    title: str
    configs: tuple[RunConfig, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "configs", tuple(self.configs))
        if not self.configs:
            raise ConfigError(f"sweep {self.title!r} has no run: expected at least one configuration")
        seen: set[RunConfig] = set()
        for config in self.configs:
            if config in seen:
                raise ConfigError(
                    f"sweep {self.title!r} names the run w0 = {config.w0:g}, seed = {config.seed} twice; "
                    "remove repeated values and entries"
                )
            seen.add(config)
        object.__setattr__(self, "configs", tuple(united(self.configs)))


def read_sweep(file: str | Path, size: str | None = None) -> Sweep:
    """The runs that a sweep file names.

    Args:
        file: A TOML file.
        size: One of the sizes in the file; required if it has any.

    Returns:
        The sweep.

    Raises:
        ConfigError: If the file cannot be read or parsed, names an unknown table or field (the nearest one is
            named), sets a field twice, or names no run.
    """
    file = Path(file)
    content = read_file(file)
    try:
        return sweep_of(content, size, file.stem)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def read_file(file: Path) -> dict[str, Any]:
    """The content of a sweep file, not yet checked.

    Raises:
        ConfigError: If it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"sweep file {str(file)[:200]} cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise ConfigError(f"sweep file {file} is nested too deeply") from error
    except ValueError as error:  # no TOML, no text, a number of thousands of digits
        raise ConfigError(f"sweep file {file} is not valid TOML: {error}") from error


def sweep_of(content: Mapping[str, Any], size: str | None = None, title: str = "sweep") -> Sweep:
    """As :func:`read_sweep`, from the parsed content of a file.

    Args:
        content: Tables ``run``, ``grid``, ``paired``, ``list``, ``sizes`` and ``title``.
        size: One of the sizes.
        title: Used if the content has none.
    """
    tables = _tables_of(content, size)
    title = str(content.get("title", title))
    return Sweep(title if size is None else f"{title} ({size})", tuple(_configs(tables)))


def one_of_each(file: Path, size: str | None, apart: Collection[str]) -> list[RunConfig]:
    """Of the runs that a sweep file names, one of each setting: the first of the values of some fields.

    Args:
        file: As in :func:`read_sweep`.
        size: As there.
        apart: Fields in which runs of one setting differ.
    """
    return _configs(_tables_of(read_file(file), size), apart)


def sizes_of(file: Path) -> list[str]:
    """Names of the sizes that a sweep file has."""
    return list(_table("sizes", read_file(file).get("sizes", {})))


def _tables_of(content: Mapping[str, Any], size: str | None) -> dict[str, Any]:
    """Tables ``run``, ``grid``, ``paired`` and ``list`` at one size."""
    _check_names(content, _TABLES, "a sweep file has no table {!r}")
    tables = {name: content[name] for name in _RUNS if name in content}
    sizes = _table("sizes", content.get("sizes", {}))
    if sizes:
        if size is None or size not in sizes:
            got = "none" if size is None else f"{size!r}{nearest(size, sizes)}"
            raise ConfigError(f"size must be one of {list(sizes)}, got {got}")
        chosen = _table(f"sizes.{size}", sizes[size])
        _check_names(chosen, _RUNS, f"sizes.{size} has no table {{!r}}")
        tables = _overridden(tables, chosen)
    elif size is not None:
        raise ConfigError(f"the file has no sizes, got size {size!r}; leave --size away")
    return tables


def _overridden(tables: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A size's run and grid are laid over the common ones field by field; its pairs and list replace theirs."""
    merged = dict(tables)
    for name, table in chosen.items():
        if name in _ARRAYS:
            merged[name] = table
            continue
        merged[name] = {**_flat(name, tables.get(name, {})), **_flat(name, table)}
    # A size may turn a fixed field into a swept one and back.
    for ours, theirs in (("run", "grid"), ("grid", "run")):
        for field in _flat(ours, chosen.get(ours, {})):
            if field in merged.get(theirs, {}) and field not in _flat(theirs, chosen.get(theirs, {})):
                merged[theirs] = {f: value for f, value in merged[theirs].items() if f != field}
    return merged


def _configs(tables: Mapping[str, Any], apart: Collection[str] = ()) -> list[RunConfig]:
    """All combinations; of the fields in ``apart`` the first value alone."""
    shared = _flat("run", tables.get("run", {}))
    grid = _axes("grid", tables.get("grid", {}), apart)
    entries = [_listed(entry, apart) for entry in _entries("list", tables.get("list", [{}]))]
    pairs = [_together(entry, apart) for entry in _entries("paired", tables.get("paired", [{}]))]
    own = sum(math.prod(map(len, inner.values())) for _, inner in entries)
    count = own * math.prod(map(len, grid.values())) * math.prod(map(len, pairs))
    if count > MOST_RUNS:
        raise ConfigError(f"a sweep may have at most {MOST_RUNS} runs, got {count}")
    configs = []
    for entry, inner in entries:
        places = [("run", shared), ("grid", grid), ("list", entry), ("list.grid", inner)]
        _check_once(places + [("paired", pair[0]) for pair in pairs])
        axes = {**inner, **grid}
        for *together, values in itertools.product(*pairs, itertools.product(*axes.values())):
            fields = {**shared, **entry, **dict(zip(axes, values, strict=True))}
            for pair in together:
                fields |= pair
            configs.append(RunConfig.from_dict(_nested(fields)))
    return configs


def _axes(where: str, table: Any, apart: Collection[str]) -> dict[str, Sequence[Any]]:
    """Values of each field of a grid; the first alone of the fields in ``apart``."""
    axes = {field: _values(where, field, values) for field, values in _flat(where, table).items()}
    return {field: values[:1] if field in apart else values for field, values in axes.items()}


def _listed(entry: Mapping[str, Any], apart: Collection[str]) -> tuple[dict[str, Any], dict[str, Sequence[Any]]]:
    """An entry's fields, and the grid of its own."""
    fields = {name: value for name, value in entry.items() if name != "grid"}
    return _flat("list", fields), _axes("list.grid", entry.get("grid", {}), apart)


def _entries(name: str, found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ConfigError(f"{name} must be an array of tables, written [[{name}]]")
    if not found:
        raise ConfigError(f"{name} has no entry: remove it, or write at least one [[{name}]]")
    return found


def _together(entry: Mapping[str, Any], apart: Collection[str]) -> list[dict[str, Any]]:
    """Values that change together, one mapping each; the first alone if any of their fields is in ``apart``."""
    axes = {field: _values("paired", field, values) for field, values in _flat("paired", entry).items()}
    lengths = {field: len(values) for field, values in axes.items()}
    if len(set(lengths.values())) > 1:
        told = " and ".join(f"{length} of {field}" for field, length in lengths.items())
        raise ConfigError(f"values of [[paired]] change together: expected as many of each field, got {told}")
    found = [dict(zip(axes, values, strict=True)) for values in zip(*axes.values(), strict=True)] or [{}]
    return found[:1] if set(apart) & set(axes) else found


def _flat(where: str, table: Any) -> dict[str, Any]:
    """Fields with those of the task as ``task.P``, each checked to exist."""
    fields: dict[str, Any] = {}
    for name, value in _table(where, table).items():
        if name == "task" and isinstance(value, dict):
            fields |= {f"task.{inner}": setting for inner, setting in value.items()}
        elif name == "task":
            fields["task.name"] = value
        else:
            fields[name] = value
    known = [field.name for field in dataclasses.fields(RunConfig) if field.name != "task"]
    # The fields of a task are checked when it is made: which ones there are depends on the task.
    _check_names(
        {name: value for name, value in fields.items() if not name.startswith("task.")},
        known,
        f"{where} has a field {{!r}} that no run has",
    )
    return fields


def _nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    nested = {name: value for name, value in fields.items() if not name.startswith("task.")}
    task = {name[5:]: value for name, value in fields.items() if name.startswith("task.")}
    if task:
        nested["task"] = {"name": ModularAddition.name, **task}
    return nested


def _values(where: str, field: str, values: Any) -> Sequence[Any]:
    if isinstance(values, dict):
        _check_names(values, ("first", "count"), f"{where}.{field} has no entry {{!r}}")
        first, count = values.get("first", 0), values.get("count")
        if type(first) is not int or type(count) is not int or not 1 <= count <= MOST_RUNS:
            raise ConfigError(
                f"{where}.{field} must be a list, or {{ first = 0, count = 5 }} with a count in 1 .. {MOST_RUNS}, "
                f"got {values!r}"
            )
        return range(first, first + count)
    if not isinstance(values, list):
        raise ConfigError(f"{where}.{field} must be a list of values, got {values!r}; one value belongs under [run]")
    if not values:
        raise ConfigError(f"{where}.{field} is empty: expected at least one value")
    return values


def _check_once(places: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for (one, fields), (other, more) in itertools.combinations(places, 2):
        both = sorted(set(fields) & set(more))
        if both:
            where = f"both {one} and {other}" if one != other else f"two tables [[{one}]]"
            raise ConfigError(f"{both[0]!r} stands under {where}: keep one of the two")


def _table(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table, got {value!r}")
    return value


def _check_names(given: Mapping[str, Any], known: Sequence[str], message: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(message.format(name) + (nearest(name, known) or f"; expected one of {list(known)}"))

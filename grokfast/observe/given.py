"""What a measure says that it gives, and what it gives: checked, with the measure's name in every message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from grokfast.errors import ConfigError
from grokfast.measures import Column
from grokfast.observe.names import RESERVED
from grokfast.observe.protocol import (
    FunctionMeasure,
    Measure,
    Need,
    checked_name,
)
from grokfast.observe.snapshot import Snapshot


def is_built_in(measure: object) -> bool:
    """Whether a measure is the package's own: it needs no trial, and its failure is an error."""
    return type(measure).__module__.partition(".")[0] == "grokfast" and not isinstance(measure, FunctionMeasure)


def reserved_names(snapshot: Snapshot) -> frozenset[str]:
    """Names that no measure may give, in lower case: of records, configurations and tasks."""
    names = set(RESERVED)
    for config in snapshot.configs[:1]:
        names |= {entry.name for entry in fields(config)}
    names |= {entry.name for entry in fields(snapshot.task)}  # type: ignore[arg-type]
    return frozenset(name.lower() for name in names)


def declared_columns(measure: object, snapshot: Snapshot) -> list[Column]:
    """What a measure says that it gives for the task of a snapshot; nothing of a plain function."""
    if not isinstance(measure, Measure):
        return []
    checked_name(measure.name)
    if Need.TWO_RUNS in measure.needs:
        raise ConfigError(f"measure {measure.name} compares two runs: it cannot be taken while one trains")
    return list(measure.columns(snapshot.task))


def checked_values(name: str, column: Any, values: Any, members: int) -> Tensor:
    """One column of one look as ``[E]`` float64 on the CPU.

    Raises:
        ConfigError: If it is not a tensor of one real number a member.
    """
    if not isinstance(column, str):
        raise ConfigError(f"measure {name} must name its columns by text, got {column!r}")
    if not isinstance(values, Tensor):
        raise ConfigError(f"measure {name} must give a tensor [{members}] as {column!r}, got {type(values).__name__}")
    if values.shape != (members,):
        raise ConfigError(
            f"measure {name} must give one number a member, [{members}], as {column!r}, got {list(values.shape)}"
        )
    _check_real(name, column, values)
    return values.detach().double().cpu().clone()


def checked_array(name: str, column: str, values: Any, members: int) -> Tensor:
    """One array of each member, ``[E, ...]`` on the CPU.

    Raises:
        ConfigError: If it is not a dense tensor of real numbers with a leading axis of members.
    """
    if not isinstance(values, Tensor) or values.ndim == 0 or len(values) != members:
        got = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ConfigError(f"measure {name} must give one array a member, [{members}, ...], as {column!r}, got {got}")
    _check_real(name, column, values)
    return values.detach().cpu().clone()


def _check_real(name: str, column: str, values: Tensor) -> None:
    if values.is_complex() or values.is_quantized:
        raise ConfigError(f"measure {name} must give real numbers as {column!r}, got {values.dtype}")
    if values.is_meta or values.layout is not torch.strided:
        raise ConfigError(
            f"measure {name} must give a dense tensor with values as {column!r}, got {values.layout} on {values.device}"
        )


def mapping(name: str, seen: Any) -> Mapping[str, Any]:
    """What a measure has returned, if it is columns by name."""
    if not isinstance(seen, Mapping):
        raise ConfigError(f"measure {name} must return a mapping of columns to tensors, got {type(seen).__name__}")
    return seen


def undeclared(column: str, owner: str) -> Column:
    """The column of a plain function, which says nothing about it."""
    return Column(column, f"given by {owner}")

"""The measures of one stack in training: tried before the first epoch, taken on their schedules, never its ruin."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from grokfast.errors import ConfigError, GrokfastError
from grokfast.measures import Column
from grokfast.observe.names import RESERVED
from grokfast.observe.protocol import FunctionMeasure, LooksAround, Measure, Need, Observer, Remembers, measure_name
from grokfast.observe.snapshot import Dated, Seen, Snapshot


@dataclass
class Watch:
    """Observers with the epochs at which each looks.

    Args:
        observers: The stack's, in the order in which they look: later ones see what earlier ones saw.
        epochs: Length of the run.

    Attributes:
        columns: By name, the measure that gives a column, and the column.
        problems: Columns of measures that failed in training, with what happened.
    """

    observers: Sequence[Observer]
    epochs: int
    columns: dict[str, tuple[str, Column]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._points = [observer.epochs(self.epochs) for observer in self.observers]
        self._given: list[list[str]] = [[] for _ in self.observers]
        self._broken: set[int] = set()

    def prepare(self, snapshot: Snapshot) -> None:
        """Learn the columns, and try each measure that is not the package's own once, on the stack as it is.

        Args:
            snapshot: The stack before an epoch; the trial calls it epoch 0.

        Raises:
            ConfigError: If a measure raises, gives what is no ``[E]`` tensor of real numbers, gives a column that it
                has not declared, or a name that is taken; the message names the measure.
        """
        taken = reserved_names(snapshot)
        nothing = torch.full((snapshot.members,), torch.nan, dtype=torch.float64)
        trial = Snapshot(
            0,
            snapshot.task,
            {name: tensor.detach().clone() for name, tensor in snapshot.params.items()},
            snapshot.splits,
            snapshot.configs,
            dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy"), nothing),
        )
        for k, observer in enumerate(self.observers):
            name = measure_name(observer.measure)
            declared = declared_columns(observer.measure, snapshot)
            for column in declared:
                self._claim(column, name, () if is_built_in(observer.measure) else taken)
            self._given[k] = [column.name for column in declared]
            if not is_built_in(observer.measure) and not isinstance(observer.measure, Remembers | LooksAround):
                self._try(k, observer, name, trial, taken)

    def look(self, snapshot: Snapshot) -> dict[str, tuple[int, Tensor]]:
        """What the measures that are due at this epoch see: epoch and ``[E]`` float64 by column.

        A measure that raises, or gives something else than in its trial, is not called again; the columns it has
        given are in :attr:`problems` with the reason, and a warning says so once.
        """
        found: dict[str, tuple[int, Tensor]] = {}
        for k, observer in enumerate(self.observers):
            if k in self._broken or snapshot.epoch not in self._points[k]:
                continue
            metrics = {**snapshot.metrics, **{n: v for n, (epoch, v) in found.items() if epoch == snapshot.epoch}}
            now = Snapshot(snapshot.epoch, snapshot.task, snapshot.params, snapshot.splits, snapshot.configs, metrics)
            try:
                found |= self._checked(k, observer.measure(now), now)
            except MemoryError:
                raise  # no fault of the measure's
            except Exception as error:
                if is_built_in(observer.measure):
                    raise
                self._give_up(k, measure_name(observer.measure), snapshot.epoch, error)
        return found

    def _checked(self, k: int, seen: Seen, now: Snapshot) -> dict[str, tuple[int, Tensor]]:
        found = {}
        name = measure_name(self.observers[k].measure)
        for column, value in _mapping(name, seen).items():
            epoch, values = (value.epoch, value.values) if isinstance(value, Dated) else (now.epoch, value)
            values = checked_values(name, column, values, now.members)
            if column not in self.columns:
                self._claim(_undeclared(column, name), name, reserved_names(now))
            if column not in self._given[k]:
                self._given[k].append(column)
            found[column] = (epoch, values)
        return found

    def _try(self, k: int, observer: Observer, name: str, trial: Snapshot, taken: Collection[str]) -> None:
        try:
            with torch.no_grad():
                seen = _mapping(name, observer.measure(trial))
        except MemoryError:
            raise
        except GrokfastError as error:
            raise ConfigError(f"measure {name} failed in its trial before training: {error}") from error
        except Exception as error:
            raise ConfigError(
                f"measure {name} failed in its trial before training: {type(error).__name__}: {error}"
            ) from error
        declared = self._given[k]
        for column, value in seen.items():
            checked_values(name, column, value.values if isinstance(value, Dated) else value, trial.members)
            if declared and column not in declared:
                raise ConfigError(f"measure {name} gives {column!r}, but declares {declared}: declare every column")
            if not declared:
                self._claim(_undeclared(column, name), name, taken)
        if not declared:
            self._given[k] = list(seen)

    def _claim(self, column: Column, owner: str, taken: Collection[str]) -> None:
        twin = {name.lower(): name for name in self.columns}.get(column.name.lower())
        if twin is not None:
            raise ConfigError(
                f"measure {owner} gives {column.name!r}, and {self.columns[twin][0]} gives {twin!r}: SQL cannot tell "
                "them apart, so rename one (each measure is taken once)"
            )
        if column.name.lower() in taken:
            raise ConfigError(f"measure {owner} gives {column.name!r}, which every run has already: rename it")
        self.columns[column.name] = (owner, column)

    def _give_up(self, k: int, name: str, epoch: int, error: Exception) -> None:
        self._broken.add(k)
        reason = f"raised in epoch {epoch}: {type(error).__name__}: {error}"
        self.problems |= dict.fromkeys(self._given[k] or [name], reason)
        warnings.warn(f"measure {name} {reason}; training goes on without it", RuntimeWarning, stacklevel=2)


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
    if values.is_complex() or values.is_quantized:
        raise ConfigError(f"measure {name} must give real numbers as {column!r}, got {values.dtype}")
    return values.detach().double().cpu().clone()


def _mapping(name: str, seen: Any) -> Mapping[str, Any]:
    if not isinstance(seen, Mapping):
        raise ConfigError(f"measure {name} must return a mapping of columns to tensors, got {type(seen).__name__}")
    return seen


def _undeclared(column: str, owner: str) -> Column:
    return Column(column, f"given by {owner}")

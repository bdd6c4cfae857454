"""The measures of one stack in training: tried before the first epoch, taken on their schedules, never its ruin."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from grokfast.errors import ConfigError, GrokfastError, InputError
from grokfast.measures import Column, Kind
from grokfast.observe.given import (
    checked_array,
    checked_values,
    declared_columns,
    is_built_in,
    mapping,
    reserved_names,
    undeclared,
)
from grokfast.observe.names import FULL_TRAIN, METRICS
from grokfast.observe.protocol import (
    HasArrays,
    LooksAround,
    Measure,
    Observer,
    Remembers,
    measure_name,
)
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
        arrays: Of the end models, ``[E, ...]`` by column, from the last epoch on.
    """

    observers: Sequence[Observer]
    epochs: int
    columns: dict[str, tuple[str, Column]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)

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
        metrics = dict.fromkeys((column.name for column in (*METRICS, *FULL_TRAIN)), nothing)
        for k, observer in enumerate(self.observers):
            name = measure_name(observer.measure)
            declared = declared_columns(observer.measure, snapshot)
            for column in declared:
                self._claim(column, name, () if is_built_in(observer.measure) else taken)
            self._given[k] = [column.name for column in declared]
            if any(column.kind is not Kind.SCALAR for column in declared) and not is_built_in(observer.measure):
                self._points[k] |= {self.epochs}
            if not is_built_in(observer.measure):
                self._try(k, name, replace(_copied(snapshot), epoch=0, metrics=metrics), taken)
            metrics |= dict.fromkeys(self._given[k], nothing)
            if not self.problems.keys().isdisjoint(self._given[k] or [name]):
                self._broken.add(k)  # it failed before the training was interrupted

    def due(self, epoch: int) -> bool:
        """Whether a measure looks at this epoch."""
        return any(epoch in points for points in self._points)

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
            now = replace(snapshot, metrics=metrics)
            if is_built_in(observer.measure):
                found |= self._checked(k, observer.measure(now), now)
                continue
            marks = _marks(snapshot)
            try:
                found |= self._checked(k, observer.measure(_copied(now)), now)
            except MemoryError:
                raise  # no fault of the measure's
            except Exception as error:
                self._give_up(k, snapshot.epoch, error)
            else:
                self._keep_arrays(k, now)
            _check_data(measure_name(observer.measure), marks, snapshot)
        return found

    def _keep_arrays(self, k: int, now: Snapshot) -> None:
        if now.epoch != self.epochs:
            return
        try:
            self.arrays |= self._arrays(k, self.observers[k].measure, _copied(now))
        except MemoryError:
            raise
        except Exception as error:
            lost = [name for name in self._given[k] if self.columns[name][1].kind is Kind.ARRAY]
            self._give_up(k, now.epoch, error, lost)

    def _arrays(self, k: int, measure: object, now: Snapshot) -> dict[str, Tensor]:
        """Arrays ``[E, ...]`` of the end model."""
        if not isinstance(measure, HasArrays):
            return {}
        name = measure_name(measure)
        found = {}
        for column, values in mapping(name, measure.arrays(now)).items():
            kind = self.columns[column][1].kind if column in self._given[k] else None
            if kind is not Kind.ARRAY:
                raise ConfigError(
                    f"measure {name} gives the array {column!r}, but declares no such column of kind array"
                )
            found[column] = checked_array(name, column, values, now.members)
        return found

    def _checked(self, k: int, seen: Seen, now: Snapshot) -> dict[str, tuple[int, Tensor]]:
        found = {}
        name = measure_name(self.observers[k].measure)
        for column, value in mapping(name, seen).items():
            epoch, values = (value.epoch, value.values) if isinstance(value, Dated) else (now.epoch, value)
            values = checked_values(name, column, values, now.members)
            if column not in self._given[k]:
                self._check_declared(k, column)
                self._claim(undeclared(column, name), name, reserved_names(now))
                self._given[k].append(column)
            if self.columns[column][1].kind is not Kind.END or now.epoch == self.epochs:
                found[column] = (epoch, values)
        return found

    def _try(self, k: int, name: str, trial: Snapshot, taken: Collection[str]) -> None:
        marks, params = _marks(trial), {name: tensor.clone() for name, tensor in trial.params.items()}
        measure = _tried(self.observers[k].measure)
        if measure is None:
            return
        try:
            seen = mapping(name, measure(trial))
            self._arrays(k, measure, trial)
        except MemoryError:
            raise
        except GrokfastError as error:
            raise ConfigError(f"measure {name} failed in its trial before training: {error}") from error
        except Exception as error:
            raise ConfigError(
                f"measure {name} failed in its trial before training: {type(error).__name__}: {error}"
            ) from error
        _check_data(name, marks, trial)
        changed = [
            part
            for part, tensor in params.items()
            if not torch.equal(tensor.nan_to_num(), trial.params[part].nan_to_num())
        ]
        if changed:
            raise ConfigError(f"measure {name} changes parameter {changed[0]}: a measure may only look")
        declared = self._given[k]
        for column, value in seen.items():
            checked_values(name, column, value.values if isinstance(value, Dated) else value, trial.members)
            self._check_declared(k, column)
            if not declared:
                self._claim(undeclared(column, name), name, taken)
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

    def _check_declared(self, k: int, column: str) -> None:
        measure: object = self.observers[k].measure
        if isinstance(measure, Measure) and not is_built_in(measure) and column not in self._given[k]:
            raise ConfigError(
                f"measure {measure.name} gives {column!r}, but declares {self._given[k]}: declare every column"
            )

    def _give_up(self, k: int, epoch: int, error: Exception, columns: Sequence[str] = ()) -> None:
        self._broken.add(k)
        name = measure_name(self.observers[k].measure)
        reason = f"raised in epoch {epoch}: {type(error).__name__}: {error}"
        self.problems |= dict.fromkeys(columns or self._given[k] or [name], reason)
        warnings.warn(f"measure {name} {reason}; training goes on without it", RuntimeWarning, stacklevel=2)


def _copied(snapshot: Snapshot) -> Snapshot:
    """With parameters of its own, so that a measure which writes into them does not write into the training."""
    return replace(snapshot, params={name: tensor.detach().clone() for name, tensor in snapshot.params.items()})


def _marks(snapshot: Snapshot) -> list[tuple[int, int]]:
    """What changes with every write into the data, which is too large to copy."""
    tensors = [getattr(split, name) for split in snapshot.splits for name in split.__dataclass_fields__]
    return [(tensor.data_ptr(), tensor._version) for tensor in tensors]


def _check_data(name: str, marks: list[tuple[int, int]], snapshot: Snapshot) -> None:
    if marks != _marks(snapshot):
        raise InputError(f"measure {name} changes the data: a measure may only look, and training cannot go on")


def _tried(measure: Any) -> Any:
    """What is tried in a measure's place: a copy, where it has a memory that the trial must not enter."""
    if not isinstance(measure, Remembers | LooksAround):
        return measure
    try:
        return copy.deepcopy(measure)
    except Exception:
        return None  # holds what cannot be copied: its first look is its trial

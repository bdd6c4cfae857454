"""Frozen configuration of one run: what determines its bits, its identity in the store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch

from grokfast._checks import (
    check_at_least,
    check_fraction,
    check_non_negative,
    check_positive,
    nearest,
    parse_choice,
)
from grokfast.errors import ConfigError
from grokfast.geometry import parse_variants
from grokfast.tasks import TASKS, ModularAddition, Task, task_from_dict, task_to_dict
from grokfast.training.schedule import schedule_epochs

SCHEMA = 1
"""Version of the configuration's fields; part of a run's key.

A field added later does not raise it: see :attr:`RunConfig.key`.
"""

_INTRODUCED = "introduced with"


class _OfTask:
    """Stands for the task's own default until the configuration is made."""

    def __repr__(self) -> str:
        return "the task's"


OF_TASK: Any = _OfTask()


class Optimizer(StrEnum):
    """Optimisers of the stacked engine."""

    ADAM = "adam"
    """L2 decay in the gradient, as ``torch.optim.Adam(weight_decay=...)``; the paper's choice."""
    ADAMW = "adamw"
    """Decoupled decay, as ``torch.optim.AdamW``."""
    SGD = "sgd"
    """Momentum and L2 decay, as ``torch.optim.SGD``."""


class TrainMetrics(StrEnum):
    """How train loss and accuracy of an epoch are taken."""

    RUNNING = "running"
    """Over the epoch's batches while the weights change: the authors' way, at no cost."""
    FULL = "full"
    """A pass over the whole train split after the epoch."""


class Precision(StrEnum):
    """Floating-point type of the parameters."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype."""
        return torch.float32 if self is Precision.FLOAT32 else torch.float64


_SCHEDULES = (
    "checkpoint_schedule",
    "feature_schedule",
    "compressibility_schedule",
    "test_schedule",
    "geometry_schedule",
)


def _added(default: Any) -> Any:
    """A field that earlier versions did not have; ``default`` is what stored runs without it have, for ever."""
    return field(default=default, metadata={_INTRODUCED: default})


@dataclass(frozen=True)
class RunConfig:
    """One run. What is not set is what the paper has: its main text for modular addition, its table for Ising.

    Args:
        task: The task with its own fields; by default modular addition.
        w0: Initialisation scale: every initial parameter is multiplied by it.
        seed: Seed of the split, the initialisation, the label noise and the batch order.
        epochs: Number of epochs, at least 1; by default the task's, as are batch size, learning rate and weight decay.
        batch_size: Samples a step; the last batch of an epoch may be smaller.
        optimizer: ``"adam"``, ``"adamw"`` or ``"sgd"``.
        learning_rate: Step size, > 0.
        weight_decay: Decay coefficient, >= 0.
        beta1: Adam's decay of the first moment, in [0, 1).
        beta2: Adam's decay of the second moment, in [0, 1).
        eps: Adam's epsilon, > 0.
        momentum: SGD's momentum, in [0, 1).
        reshuffle: Whether the batch order is drawn anew each epoch; the authors keep one order.
        train_metrics: ``"running"`` or ``"full"``.
        precision: ``"float32"`` or ``"float64"``.
        checkpoint_schedule: Epochs whose parameters are stored; the last always is.
        feature_schedule: Epochs at which the task's features are taken; at the last they always are.
        compressibility_schedule: Epochs at which compressibility is measured; at the last it always is.
        test_schedule: Epochs with a test pass; the last always is one. The authors test every epoch. Learning times
            are taken over the epochs tested, so that with ``"every:10"`` t_test is up to 9 epochs late.
        geometry: Metrics in which the trajectory's geometry is measured, joined by ``+``, such as
            ``"logit-16+softmax-all+softmax-all-full"``; none by default (see ``docs/geometry.md``).
        geometry_schedule: Epochs at which it is measured.
        geometry_step: Epochs between the checkpoints that a step joins: the paper's f, at least 1.
        geometry_stiff: Final Fisher diagonal from which a parameter is stiff (0.1 in the paper); 0 measures no
            split. A split needs the end model first, so that the stack is trained twice.

    Source:
        arXiv 2502.01739, table of models.
    """

    task: Task = field(default_factory=ModularAddition)
    w0: float = 1.0
    seed: int = 0
    epochs: int = OF_TASK
    batch_size: int = OF_TASK
    optimizer: Optimizer = Optimizer.ADAM
    learning_rate: float = OF_TASK
    weight_decay: float = OF_TASK
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum: float = 0.9
    reshuffle: bool = False
    train_metrics: TrainMetrics = TrainMetrics.RUNNING
    precision: Precision = Precision.FLOAT32
    checkpoint_schedule: str = "last"
    feature_schedule: str = "log:50"
    compressibility_schedule: str = "last"
    test_schedule: str = _added("every:1")
    geometry: str = _added("")
    geometry_schedule: str = _added("every:1")
    geometry_step: int = _added(1)
    geometry_stiff: float = _added(0.0)

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise ConfigError(f"task must be one of {sorted(TASKS)}, got {self.task!r}")
        for name, value in self.task.defaults.items():
            if getattr(self, name) is OF_TASK:
                object.__setattr__(self, name, value)
        for name, choices in (
            ("optimizer", Optimizer),
            ("train_metrics", TrainMetrics),
            ("precision", Precision),
        ):
            object.__setattr__(self, name, parse_choice(name, getattr(self, name), choices, error=ConfigError))
        for name in ("w0", "learning_rate", "eps"):
            check_positive(name, getattr(self, name), error=ConfigError)
        check_non_negative("weight_decay", self.weight_decay, error=ConfigError)
        for name in ("beta1", "beta2", "momentum"):
            value = getattr(self, name)
            check_fraction(name, value, closed=True, error=ConfigError)
            if value == 1:
                raise ConfigError(f"{name} must lie in [0, 1), got {value!r}")
        check_at_least("seed", self.seed, 0, error=ConfigError)
        check_at_least("epochs", self.epochs, 1, error=ConfigError)
        check_at_least("batch_size", self.batch_size, 1, error=ConfigError)
        check_at_least("geometry_step", self.geometry_step, 1, error=ConfigError)
        check_non_negative("geometry_stiff", self.geometry_stiff, error=ConfigError)
        object.__setattr__(self, "geometry", "+".join(map(str, parse_variants(self.geometry))))
        # One spelling of each value, so that 1 and 1.0 are the same run.
        for name in ("w0", "learning_rate", "eps", "weight_decay", "beta1", "beta2", "momentum", "geometry_stiff"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("seed", "epochs", "batch_size", "geometry_step"):
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in _SCHEDULES:
            schedule_epochs(getattr(self, name), self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``task`` is a mapping with its name."""
        values = dataclasses.asdict(self)
        values["task"] = task_to_dict(self.task)
        return typing.cast("dict[str, Any]", json.loads(json.dumps(values)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """The configuration that :meth:`to_dict` wrote, checked again.

        Raises:
            ConfigError: If a key does not exist (the nearest one is named) or a value is out of range.
        """
        values = dict(values)
        if "task" in values:
            values["task"] = task_from_dict({"name": ModularAddition.name, **values["task"]})
        config: RunConfig = _build(cls, values, "the run configuration")
        return config

    @property
    def key(self) -> str:
        """Name of the run in the store: a hash of the configuration and its schema version.

        Fields that were added later are left out while they have the value they were introduced with, so that the
        keys of runs stored before stay what they were, and :data:`SCHEMA` too. So are the task's fields that say
        where its data lie.
        """
        values = self._keyed()
        for name, value in introduced().items():
            if values[name] == value:
                del values[name]
        canonical = json.dumps({"schema": SCHEMA, **values}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def stack_key(self) -> str:
        """Equal for configurations that can train in one stack: all but w0, seed, learning rate, weight decay."""
        shared = self._keyed()
        for name in ("w0", "seed", "learning_rate", "weight_decay"):
            del shared[name]
        shared["task"].pop("label_noise", None)
        return json.dumps(shared, sort_keys=True)

    def _keyed(self) -> dict[str, Any]:
        """All fields but those that say where the task's data lie."""
        values = self.to_dict()
        values["task"] = {name: value for name, value in values["task"].items() if name not in self.task.unkeyed}
        return values


def introduced() -> dict[str, Any]:
    """Fields of :class:`RunConfig` that earlier versions lacked, with the value that their runs have."""
    fields = dataclasses.fields(RunConfig)
    return {field.name: field.metadata[_INTRODUCED] for field in fields if _INTRODUCED in field.metadata}


def _build(cls: type[Any], values: dict[str, Any], what: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in fields:
            raise ConfigError(f"{what} has no field {name!r}{nearest(name, fields)}")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _coerce(name, value, hints[name]) for name, value in values.items()})


def _coerce(name: str, value: Any, hint: Any) -> Any:
    """JSON and TOML know no tuples and write 1 for 1.0; everything else must have its type already."""
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, bool, str, float) and not (isinstance(value, hint) and isinstance(value, bool) == (hint is bool)):
        raise ConfigError(f"{name} must be of type {hint.__name__}, got {value!r}")
    return value

"""Frozen configuration of one run: what is trained, which is its identity in the store, and what is looked at."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from grokfast._checks import (
    check_at_least,
    check_fraction,
    check_non_negative,
    check_positive,
    nearest,
)
from grokfast.errors import ConfigError
from grokfast.geometry import parse_variants
from grokfast.observe import check_schedule
from grokfast.store.identity import declared_defaults, family_of, identity, key_of, plain
from grokfast.tasks import TASKS, ModularAddition, Task, task_from_dict, task_to_dict
from grokfast.tasks.fields import take_types
from grokfast.training.choices import Optimizer, Precision, TrainMetrics
from grokfast.training.fields import FULL, added, introduced_fields
from grokfast.training.hooks import hooks_of, spelled
from grokfast.training.looks import LOOK_FIELDS, looks_of
from grokfast.training.rates import RateDecay


class _OfTask:
    """Stands for the task's own default until the configuration is made."""

    def __repr__(self) -> str:
        return "the task's"


OF_TASK: Any = _OfTask()


@dataclass(frozen=True)
class RunConfig:
    """One run. What is not set is what the paper has: its main text for modular addition, its table for Ising.

    Args:
        task: The task with its own fields; by default modular addition.
        w0: Initialisation scale: every initial parameter is multiplied by it.
        seed: Seed of the split, the initialisation, the label noise and the batch order.
        epochs: Number of epochs, at least 1; by default the task's, as are batch size, learning rate and weight decay.
        batch_size: Samples a step; the last batch of an epoch may be smaller. ``"full"`` is the number of training
            samples, and is kept as that number.
        optimizer: ``"adam"``, ``"adamw"`` or ``"sgd"``.
        learning_rate: Step size, > 0.
        weight_decay: Decay coefficient, >= 0.
        beta1: Adam's decay of the first moment, in [0, 1).
        beta2: Adam's decay of the second moment, in [0, 1).
        eps: Adam's epsilon, > 0.
        momentum: SGD's momentum, in [0, 1).
        reshuffle: Whether the batch order is drawn anew each epoch; the authors keep one order.
        warmup_steps: Steps over which the learning rate rises in a straight line to its value.
        rate_decay: How it falls after that: ``"none"``, ``"linear"`` or ``"cosine"``, over the rest of the run. The
            number of epochs is then part of the training itself: such a run cannot be extended.
        rate_end: Share of the learning rate that the decay ends with, in [0, 1].
        hooks: What is done to gradients before each step and to parameters after it, in order: ``"ema:0.98:2"``,
            ``"orthogonal"``, ``"sphere"`` (:mod:`grokfast.training.hooks`).
        train_metrics: ``"running"``, or ``"full"`` for a pass over the train split after each epoch besides.
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
        observe: Further measures, each as ``"reference@schedule"``, such as
            ``"my_measures:effective_rank@log:50"``.

    The last nine fields and ``train_metrics`` are *looks*: what is looked at while it trains. They are no part of
    the run's identity (:attr:`key`). Schedules may be joined by commas: ``"every:100,log:50"``.

    Raises:
        ConfigError: If a field has the wrong type or a value out of range.

    Source:
        arXiv 2502.01739, table of models.
    """

    task: Task = field(default_factory=ModularAddition)
    w0: float = 1.0
    seed: int = 0
    epochs: int = OF_TASK
    batch_size: int | Literal["full"] = OF_TASK
    optimizer: Optimizer = Optimizer.ADAM
    learning_rate: float = OF_TASK
    weight_decay: float = OF_TASK
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum: float = 0.9
    reshuffle: bool = False
    warmup_steps: int = added(0)
    rate_decay: RateDecay = added(RateDecay.NONE)  # noqa: RUF009 - an enum does not change
    rate_end: float = added(0.0)
    hooks: tuple[str, ...] = added(())
    train_metrics: TrainMetrics = TrainMetrics.RUNNING
    precision: Precision = Precision.FLOAT32
    checkpoint_schedule: str = "last"
    feature_schedule: str = "log:50"
    compressibility_schedule: str = "last"
    test_schedule: str = "every:1"
    geometry: str = ""
    geometry_schedule: str = "every:1"
    geometry_step: int = 1
    geometry_stiff: float = 0.0
    observe: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise ConfigError(f"task must be one of {sorted(TASKS)}, got {self.task!r}")
        self._take_defaults()
        take_types(self)
        for name in ("w0", "learning_rate", "eps"):
            check_positive(name, getattr(self, name), error=ConfigError)
        for name in ("weight_decay", "geometry_stiff"):
            check_non_negative(name, getattr(self, name), error=ConfigError)
        for name in ("beta1", "beta2", "momentum"):
            value = getattr(self, name)
            check_fraction(name, value, closed=True, error=ConfigError)
            if value == 1:
                raise ConfigError(f"{name} must lie in [0, 1), got {value!r}")
        for name in ("seed", "warmup_steps"):
            check_at_least(name, getattr(self, name), 0, error=ConfigError)
        if self.batch_size == FULL:
            object.__setattr__(self, "batch_size", self.task.train_samples)
        for name in ("epochs", "batch_size", "geometry_step"):
            check_at_least(name, getattr(self, name), 1, error=ConfigError)
        self._check_rate()
        object.__setattr__(self, "hooks", tuple(map(spelled, hooks_of(self.hooks))))
        object.__setattr__(self, "geometry", "+".join(map(str, parse_variants(self.geometry))))
        for name in _SCHEDULES:
            self._check_schedule(name, getattr(self, name))
        for entry in self.observe:
            reference, at, schedule = entry.rpartition("@")
            if not (at and reference.strip()):
                raise ConfigError(f"observe must name measures as 'reference@schedule', got {entry!r}")
            self._check_schedule(f"observe {reference}", schedule)
        plain("task", task_to_dict(self.task))

    def _check_schedule(self, name: str, schedule: str) -> None:
        try:
            check_schedule(schedule, self.epochs)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error

    def _check_rate(self) -> None:
        check_fraction("rate_end", self.rate_end, closed=True, error=ConfigError)
        if self.rate_decay is RateDecay.NONE:
            if self.rate_end:
                raise ConfigError(f"rate_end is where rate_decay ends, and there is none: got {self.rate_end!r}")
        elif self.warmup_steps >= self.steps:
            raise ConfigError(
                f"warmup_steps must be fewer than the run's {self.steps} steps, or nothing is left for rate_decay "
                f"{self.rate_decay.value!r}, got {self.warmup_steps}"
            )

    def _take_defaults(self) -> None:
        for name, value in self.task.defaults.items():
            if name not in _OF_TASK:
                raise ConfigError(
                    f"task {self.task.name} has a default for {name!r}: expected only {', '.join(_OF_TASK)}"
                )
            if getattr(self, name) is OF_TASK:
                object.__setattr__(self, name, value)
        for name in _OF_TASK:
            if getattr(self, name) is OF_TASK:
                raise ConfigError(f"{name} must be given: task {self.task.name} has no default for it")

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values; ``task`` is a mapping with its name."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["task"] = task_to_dict(self.task)
        return typing.cast("dict[str, Any]", plain("the run configuration", values))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration that :meth:`to_dict` wrote, checked again.

        Raises:
            ConfigError: If a key does not exist (the nearest one is named) or a value is out of range.
        """
        values = dict(values)
        if "task" in values:
            values["task"] = _task_of(values["task"])
        _check_names(cls, values, "the run configuration")
        if isinstance(values.get("observe"), list):
            values["observe"] = tuple(values["observe"])
        return cls(**values)

    def training(self) -> dict[str, Any]:
        """What is trained: every field but the looks, with all values explicit."""
        return {name: value for name, value in self.to_dict().items() if name not in LOOK_FIELDS}

    def looks(self) -> dict[str, list[str]]:
        """What is looked at: schedules by the look's name (:mod:`grokfast.training.looks`)."""
        return looks_of(self)

    @property
    def samples_a_step(self) -> int:
        """``batch_size`` as the number that it is."""
        return typing.cast("int", self.batch_size)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * -(-self.task.train_samples // self.samples_a_step)

    @property
    def rate_is_constant(self) -> bool:
        """Whether every step has the same learning rate."""
        return not self.warmup_steps and self.rate_decay is RateDecay.NONE

    @property
    def key(self) -> str:
        """Name of the run in the store: a hash of what is trained, whatever is looked at.

        Every spelling of one training has one key: fields that the optimiser does not read, fields of the task at
        their declared default, and those that say where its data lie are left out; a batch size beyond the number of
        training samples is that number, where the task tells it. Left out are also fields added later while
        they have the value they were introduced with, so that keys stay.
        """
        return key_of(self._identity())

    @property
    def family(self) -> str:
        """Equal for runs of which one is the beginning of the other: that differ in their number of epochs alone.

        Where the learning rate decays, the number of epochs decides every step, and a run has no relatives.
        """
        alone = {} if self.rate_decay is RateDecay.NONE else {"decays over": self.epochs}
        return family_of({**self._identity(), **alone})

    @property
    def stack_key(self) -> str:
        """Equal for configurations that can train in one stack: all but w0, seed, learning rate, weight decay."""
        shared = self._identity()
        for name in ("w0", "seed", "learning_rate", "weight_decay"):
            del shared[name]
        shared["task"].pop("label_noise", None)
        return json.dumps([shared, self.looks()], sort_keys=True)

    def _identity(self) -> dict[str, Any]:
        values = self.training()
        values["batch_size"] = min(values["batch_size"], self.task.train_samples)
        for name, introduced in introduced_fields(type(self)).items():
            if values.get(name) == introduced:
                del values[name]
        return identity(values, defaults=declared_defaults(type(self.task)), unkeyed=self.task.unkeyed)


_OF_TASK = ("epochs", "batch_size", "learning_rate", "weight_decay")
_SCHEDULES = (
    "checkpoint_schedule",
    "feature_schedule",
    "compressibility_schedule",
    "test_schedule",
    "geometry_schedule",
)


def _check_names(cls: type[Any], values: Mapping[str, Any], what: str) -> None:
    fields = [f.name for f in dataclasses.fields(cls)]
    for name in values:
        if name not in fields:
            raise ConfigError(f"{what} has no field {name!r}{nearest(name, fields)}")


def _task_of(values: Any) -> Task:
    if not isinstance(values, Mapping):
        raise ConfigError(f"task must be one of {sorted(TASKS)} with its fields, got {values!r}")
    return task_from_dict({"name": ModularAddition.name, **values})

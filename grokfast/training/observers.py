"""Observers: measures taken while a stack trains, on a schedule, streamed into its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.measures import weight_norm
from grokfast.models import Params
from grokfast.pruning import compressibility, pruning_fractions, pruning_order
from grokfast.tasks import HasPreactivations, Quantities, Split, Task, layer_features, task_pruning_curves
from grokfast.training.schedule import schedule_epochs

if TYPE_CHECKING:
    from grokfast.training.config import RunConfig


@dataclass(frozen=True)
class Snapshot:
    """What an observer may look at; it must change nothing.

    Attributes:
        epoch: Epochs finished, from 1.
        task: The stack's task.
        params: Stacked parameters ``[E, ...]``.
        splits: Each member's data.
        configs: Each member's configuration.
        metrics: The epoch's losses and accuracies, and what earlier observers saw in it: ``[E]`` by name.
    """

    epoch: int
    task: Task
    params: Params
    splits: Sequence[Split]
    configs: Sequence[RunConfig] = ()
    metrics: Mapping[str, Tensor] = field(default_factory=dict)

    def test_inputs(self) -> Tensor:
        """The members' test inputs ``[E, n_test, ...]``."""
        return torch.stack([split.test_inputs for split in self.splits])


@runtime_checkable
class Closes(Protocol):
    """A measure that holds files or connections: it is closed when its stack ends, however that is."""

    def close(self) -> None:
        """Let go of them; a later look may open them again."""
        ...


@dataclass(frozen=True)
class Dated:
    """Values that belong to an earlier epoch than the one they became known in.

    Attributes:
        epoch: That epoch, from 1.
        values: ``[E]``.
    """

    epoch: int
    values: Tensor


@runtime_checkable
class LooksAround(Protocol):
    """A measure that needs to see other epochs than those it is asked about."""

    def epochs(self, points: frozenset[int], total: int) -> frozenset[int]:
        """When it must be called, of ``1 .. total``, to measure at ``points``."""
        ...


Measure = Callable[[Snapshot], Mapping[str, Tensor | Dated]]
"""Takes a snapshot and returns columns of the history by name: ``[E]`` tensors, or :class:`Dated` ones."""


@dataclass(frozen=True)
class Observer:
    """A measure and when it is taken.

    Args:
        measure: Called with a :class:`Snapshot`; returns ``[E]`` tensors by column name.
        schedule: As in :func:`schedule_epochs`.
    """

    measure: Measure
    schedule: str

    def epochs(self, total: int) -> frozenset[int]:
        """The epochs at which it looks in a run of ``total``."""
        points = schedule_epochs(self.schedule, total)
        measure: object = self.measure
        return measure.epochs(points, total) if isinstance(measure, LooksAround) else points


def observe_features(snapshot: Snapshot) -> Mapping[str, Tensor | Dated]:
    """The task's feature summaries, and the norm of all parameters as ``weight_norm``."""
    features = snapshot.task.features(snapshot.params, snapshot.test_inputs())
    return {"weight_norm": weight_norm(snapshot.params), **features.scalars}


def observe_quantities(quantities: Quantities) -> Measure:
    """A measure of how the neurons of every layer correlate with quantities of your own choosing.

    Args:
        quantities: By name, functions of test inputs ``[E, N, ...]`` that give one number a sample, ``[E, N]``.

    Returns:
        A measure for :class:`Observer`; its columns are named as
        :func:`grokfast.tasks.neurons.layer_features` says, such as ``hidden_weighted_<name>``.

    Raises:
        InputError: While it measures, if the task does not show its neurons or a function returns another shape.
    """

    def measure(snapshot: Snapshot) -> Mapping[str, Tensor | Dated]:
        if not isinstance(snapshot.task, HasPreactivations):
            raise InputError(f"task {snapshot.task.name} does not show what its neurons receive")
        inputs = snapshot.test_inputs()
        values = {}
        for name, function in quantities.items():
            values[name] = function(inputs)
            if values[name].shape != inputs.shape[:2]:
                raise InputError(
                    f"quantity {name!r} must give one number a sample, {list(inputs.shape[:2])}, "
                    f"got {list(values[name].shape)}"
                )
        return layer_features(snapshot.task.preactivations(snapshot.params, inputs), values).scalars

    return measure


def observe_compressibility(snapshot: Snapshot) -> Mapping[str, Tensor | Dated]:
    """Compressibility from the layerwise pruning curve on 101 fractions."""
    fractions = pruning_fractions()
    return {"compressibility": compressibility(fractions, stack_pruning_curve(snapshot, fractions))}


def stack_pruning_curve(snapshot: Snapshot, fractions: Tensor) -> Tensor:
    """Test accuracy ``[E, F]`` of every member at every layerwise pruned fraction."""
    order = pruning_order(snapshot.params)
    return task_pruning_curves(snapshot.task, snapshot.params, snapshot.splits, fractions, order)[0].cpu()

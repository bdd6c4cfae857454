"""Pruning curves of a task's networks: in one pass over nested networks where the task has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from grokfast.models import Params
from grokfast.pruning import PruningOrder, pruning_curves
from grokfast.tasks.base import Split, Task, evaluate


@runtime_checkable
class HasNestedLosses(Protocol):
    """A task that evaluates many nested networks at once."""

    def nested_losses(
        self, params: Mapping[str, Tensor], arrivals: Mapping[str, Tensor], count: int, inputs: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Mean loss ``[E, count]`` and correct predictions of networks each with the parameters that have arrived.

        None if this model has no such pass.
        """
        ...


def task_pruning_curves(
    task: Task, params: Mapping[str, Tensor], splits: Sequence[Split], fractions: Tensor, order: PruningOrder
) -> tuple[Tensor, Tensor]:
    """Test accuracy and loss of every member at every pruned fraction.

    Args:
        task: The task.
        params: Stacked parameters ``[E, ...]``.
        splits: Each member's data, of equal sizes.
        fractions: ``[F]`` in [0, 1], in any order.
        order: What goes first.

    Returns:
        Accuracy and mean loss, of the task's kind, ``[E, F]`` float64.

    Raises:
        InputError: If a fraction lies outside [0, 1], or there is not one split a member.
    """
    if isinstance(task, HasNestedLosses) and len(splits) == next(iter(params.values())).shape[0]:
        found = _nested(task, params, splits, fractions, order)
        if found is not None:
            return found
    with torch.no_grad():
        accuracy, loss = pruning_curves(params, [_evaluation(task, split) for split in splits], fractions, order)
    return accuracy, loss


def _nested(
    task: HasNestedLosses, params: Mapping[str, Tensor], splits: Sequence[Split], fractions: Tensor, order: PruningOrder
) -> tuple[Tensor, Tensor] | None:
    labels = torch.stack([split.test_labels for split in splits])
    inputs = torch.stack([split.test_inputs for split in splits])
    own = {name: tensor.detach() for name, tensor in params.items()}
    found = task.nested_losses(own, order.arrivals(own, fractions), len(fractions), inputs, labels)
    if found is None:
        return None
    loss, correct = found
    # Networks come from the most pruned to the least: where each fraction stands among them.
    place = torch.argsort(torch.argsort(fractions, descending=True)).to(loss.device)
    return correct[:, place].double() / labels.shape[1], loss[:, place].double()


def _evaluation(task: Task, split: Split) -> Callable[[Params], tuple[Tensor, Tensor]]:
    def accuracy_and_loss(variants: Params) -> tuple[Tensor, Tensor]:
        count = next(iter(variants.values())).shape[0]
        inputs, labels = (data.expand(count, *data.shape) for data in (split.test_inputs, split.test_labels))
        loss, accuracy = evaluate(task, variants, inputs, labels)
        return accuracy, loss

    return accuracy_and_loss

"""One pass over the training samples: the stack's steps together, or each member's one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokfast.models import Params
from grokfast.training.config import RunConfig
from grokfast.training.optimizers import OptimizerState, fused_epoch, optimizer_step


@dataclass
class Part:
    """Members that step together, on the stack's own memory.

    Attributes:
        rows: Which.
        params: Their parameters ``[E', ...]``.
        gradients: Buffers of the same shapes and strides.
        optimizer: Their moments, rates and active mask.
    """

    rows: slice
    params: Params
    gradients: Params
    optimizer: OptimizerState


def parts_of(params: Params, gradients: Params, optimizer: OptimizerState, member_by_member: bool) -> list[Part]:
    """The stack as it steps: whole, or each member for itself.

    Args:
        params: Stacked parameters ``[E, ...]``.
        gradients: Of the same shapes and strides.
        optimizer: Of the stack.
        member_by_member: As the task has it.
    """
    if not member_by_member:
        return [Part(slice(None), params, gradients, optimizer)]
    found = []
    for e in range(len(optimizer.active)):
        rows = slice(e, e + 1)
        own = OptimizerState(
            moments=[[tensor[rows] for tensor in group] for group in optimizer.moments],
            learning_rate=optimizer.learning_rate[rows],
            weight_decay=optimizer.weight_decay[rows],
            active=optimizer.active[rows],
            memory=[[tensor[rows] for tensor in group] for group in optimizer.memory],
        )
        values, slopes = ({name: tensor[rows] for name, tensor in group.items()} for group in (params, gradients))
        found.append(Part(rows, values, slopes, own))
    return found


def train_pass(
    config: RunConfig, parts: Sequence[Part], optimizer: OptimizerState, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Every batch once, in place.

    Args:
        config: Any member's configuration; what a stack shares is read from it.
        parts: The stack's, of :func:`parts_of`.
        optimizer: The stack's.
        inputs: ``[E, N, ...]``.
        labels: ``[E, N, ...]``.

    Returns:
        Sum over the samples of the loss ``[E]``, and right predictions ``[E]``, float64.
    """
    losses = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)
    correct = torch.zeros_like(losses)
    taken = optimizer.step
    for part in parts:
        part.optimizer.step = taken
        loss_sum, right = losses[part.rows], correct[part.rows]  # views
        found = fused_epoch(config, part.params, part.optimizer, inputs[part.rows], labels[part.rows])
        if found is not None:
            loss_sum += found[0] * labels.shape[1]
            right += found[1]
            continue
        for first in range(0, labels.shape[1], config.samples_a_step):
            block = slice(first, first + config.samples_a_step)
            truth = labels[part.rows, block]
            loss, hits = config.task.gradients(part.params, inputs[part.rows, block], truth, part.gradients)
            part.optimizer.active &= loss.isfinite()
            optimizer_step(config, part.params, part.gradients, part.optimizer)
            loss_sum += loss * truth.shape[1]
            right += hits
    optimizer.step = parts[0].optimizer.step
    return losses, correct

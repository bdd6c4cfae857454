"""The stacked optimisers: their state and one step, over the fused operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokfast.models import Params, zeros_together
from grokfast.ops import BoundAdam, sgd_step_
from grokfast.training.config import Optimizer, RunConfig


@dataclass
class OptimizerState:
    """Everything a step needs besides parameters and gradients; members are the leading axis.

    Attributes:
        moments: One or two tensors a parameter: Adam's first and second moments, or SGD's velocities.
        learning_rate: float64 ``[E]``.
        weight_decay: float64 ``[E]``.
        active: uint8 ``[E]``; frozen members have 0.
        step: Steps taken.
        bound: Adam's step on the tensors of the step before, made when needed.
    """

    moments: list[list[Tensor]]
    learning_rate: Tensor
    weight_decay: Tensor
    active: Tensor
    step: int = 0
    bound: BoundAdam | None = None


def initial_state(configs: Sequence[RunConfig], params: Params) -> OptimizerState:
    """Zero moments and the members' learning rates and weight decays."""
    device = next(iter(params.values())).device

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    count = 1 if configs[0].optimizer is Optimizer.SGD else 2
    return OptimizerState(
        moments=[list(zeros_together(params).values()) for _ in range(count)],
        learning_rate=column([config.learning_rate for config in configs]),
        weight_decay=column([config.weight_decay for config in configs]),
        active=torch.ones(len(configs), dtype=torch.uint8, device=device),
    )


def fused_epoch(
    config: RunConfig, params: Params, state: OptimizerState, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor] | None:
    """All steps of an epoch at once, in place, where the task can; otherwise None, and nothing has changed.

    Args:
        config: Any member's configuration; what a stack shares is read from it.
        params: Stacked parameters.
        state: Changed in place.
        inputs: Training inputs ``[E, N, ...]`` in the order of training.
        labels: Their labels ``[E, N]``.

    Returns:
        Mean training loss ``[E]`` and correct predictions ``[E]``.
    """
    run = getattr(config.task, "adam_epoch", None)
    if run is None or config.optimizer is Optimizer.SGD:
        return None
    rows = (state.learning_rate, state.weight_decay, state.active)
    how = ((config.beta1, config.beta2), config.eps, config.optimizer is Optimizer.ADAMW)
    found: tuple[Tensor, Tensor] | None = run(
        params, state.moments, inputs, labels, config.batch_size, rows, state.step, *how
    )
    if found is not None:
        state.step += -(-labels.shape[1] // config.batch_size)
    return found


def optimizer_step(config: RunConfig, params: Params, gradients: Params, state: OptimizerState) -> None:
    """One step of every active member, in place.

    Args:
        config: Any member's configuration; what a stack shares is read from it.
        params: Stacked parameters.
        gradients: Of the names, shapes and strides of ``params``.
        state: Changed in place.
    """
    state.step += 1
    tensors, grads = list(params.values()), [gradients[name] for name in params]
    rows = (state.learning_rate, state.weight_decay, state.active)
    if config.optimizer is Optimizer.SGD:
        sgd_step_(tensors, grads, state.moments[0], *rows, config.momentum)
        return
    decoupled = config.optimizer is Optimizer.ADAMW
    means, squares = state.moments
    if state.bound is None or not state.bound.is_bound_to(tensors, grads, means, squares, rows):
        state.bound = BoundAdam(tensors, grads, means, squares, *rows)
    state.bound(state.step, config.beta1, config.beta2, config.eps, decoupled)

"""The stacked optimisers: their state and one step, over the fused operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grokfast.models import Params, zeros_together
from grokfast.ops import AdamState, BoundAdam, sgd_step_
from grokfast.training.choices import Optimizer
from grokfast.training.config import RunConfig
from grokfast.training.hooks import after_step, before_step, hooks_of
from grokfast.training.rates import rate_factor


@dataclass
class OptimizerState:
    """Everything a step needs besides parameters and gradients; members are the leading axis.

    Attributes:
        moments: One or two tensors a parameter: Adam's first and second moments, or SGD's velocities.
        learning_rate: float64 ``[E]``.
        weight_decay: float64 ``[E]``.
        active: uint8 ``[E]``; frozen members have 0.
        memory: What each of the configuration's hooks remembers, tensors with members as leading axis.
        step: Steps taken.
        scaled: Learning rates of the step in hand, where they change from step to step.
        bound: Adam's step on the tensors of the step before, made when needed.
    """

    moments: list[list[Tensor]]
    learning_rate: Tensor
    weight_decay: Tensor
    active: Tensor
    memory: list[list[Tensor]] = field(default_factory=list)
    step: int = 0
    scaled: Tensor | None = None
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
        memory=[hook.memory(params) for hook in hooks_of(configs[0].hooks)],
    )


def remembered(state: OptimizerState) -> dict[str, Tensor]:
    """What the hooks remember, by the place of hook and tensor."""
    return {f"{k}/{j}": tensor for k, group in enumerate(state.memory) for j, tensor in enumerate(group)}


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
    if run is None or not _is_plain_adam(config):
        return None
    found: tuple[Tensor, Tensor] | None = run(params, _adam(config, state), inputs, labels, config.samples_a_step)
    if found is not None:
        state.step += -(-labels.shape[1] // config.samples_a_step)
    return found


def fused_epochs(
    config: RunConfig, params: Params, state: OptimizerState, data: Sequence[tuple[Tensor, Tensor]], tested: list[bool]
) -> tuple[Tensor, Tensor] | None:
    """Many epochs with their test passes, in place, where the task can; otherwise None, and nothing has changed.

    Args:
        config: Any member's configuration; what a stack shares is read from it.
        params: Stacked parameters.
        state: Changed in place; members whose loss is not finite are frozen.
        data: Training inputs and labels ``[E, N, ...]`` in the order of training, and those of the test.
        tested: For each epoch whether a test pass follows it.

    Returns:
        Mean losses and correct predictions ``[2, epochs, E]``, in training and in the test passes; NaN and 0 where
        there was no test pass, and from the epoch on in which a member was frozen.
    """
    run = getattr(config.task, "adam_epochs", None)
    if run is None or not _is_plain_adam(config):
        return None
    train, test = data
    found: tuple[Tensor, Tensor] | None = run(params, _adam(config, state), train, test, tested, config.samples_a_step)
    if found is not None:
        state.step += len(tested) * -(-train[1].shape[1] // config.samples_a_step)
    return found


def _is_plain_adam(config: RunConfig) -> bool:
    return config.optimizer is not Optimizer.SGD and not config.hooks and config.rate_is_constant


def _adam(config: RunConfig, state: OptimizerState) -> AdamState:
    means, squares = state.moments
    return AdamState(
        list(means), list(squares), state.learning_rate, state.weight_decay, state.active, state.step,
        config.beta1, config.beta2, config.eps, config.optimizer is Optimizer.ADAMW,
    )  # fmt: skip


def optimizer_step(config: RunConfig, params: Params, gradients: Params, state: OptimizerState) -> None:
    """One step of every active member, in place, with the configuration's hooks before and after it.

    Args:
        config: Any member's configuration; what a stack shares is read from it.
        params: Stacked parameters.
        gradients: Of the names, shapes and strides of ``params``.
        state: Changed in place.
    """
    state.step += 1
    hooks = hooks_of(config.hooks)
    if hooks:
        before_step(hooks, state.step, params, gradients, state.memory, state.active)
    _update(config, params, gradients, state)
    if hooks:
        after_step(hooks, params, state.memory, state.active)


def _rates(config: RunConfig, state: OptimizerState) -> Tensor:
    """The members' learning rates at this step, in memory that stays where it is."""
    if config.rate_is_constant:
        return state.learning_rate
    if state.scaled is None:
        state.scaled = torch.empty_like(state.learning_rate)
    factor = rate_factor(state.step, config.steps, config.warmup_steps, config.rate_decay, config.rate_end)
    return torch.mul(state.learning_rate, factor, out=state.scaled)


def _update(config: RunConfig, params: Params, gradients: Params, state: OptimizerState) -> None:
    tensors, grads = list(params.values()), [gradients[name] for name in params]
    rows = (_rates(config, state), state.weight_decay, state.active)
    if config.optimizer is Optimizer.SGD:
        sgd_step_(tensors, grads, state.moments[0], *rows, config.momentum)
        return
    decoupled = config.optimizer is Optimizer.ADAMW
    means, squares = state.moments
    if state.bound is None or not state.bound.is_bound_to(tensors, grads, means, squares, rows):
        state.bound = BoundAdam(tensors, grads, means, squares, *rows)
    state.bound(state.step, config.beta1, config.beta2, config.eps, decoupled)

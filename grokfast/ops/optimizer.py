"""Optimiser steps for a stack of members, in place, each member with its own learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from grokfast.ops._native import call, kernel, native
from grokfast.ops.optimizer_checks import check_adam, check_adam_memory, check_constants


class AdamState(NamedTuple):
    """What a stack's optimiser has and is told, in the order of :func:`grokfast.ops.mlp_adam_epoch_`.

    Attributes:
        means: First moments, as the parameters.
        squares: Second moments.
        learning_rate: ``[E]``.
        weight_decay: ``[E]``.
        active: Which members train, ``[E]``.
        step: Steps taken before.
        beta1: Memory of the first moments.
        beta2: Memory of the second.
        eps: Added to the root of the second.
        decoupled: Whether the decay is AdamW's.
    """

    means: list[Tensor]
    squares: list[Tensor]
    learning_rate: Tensor
    weight_decay: Tensor
    active: Tensor
    step: int
    beta1: float
    beta2: float
    eps: float
    decoupled: bool


def _per_member(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape(-1, *[1] * (like.dim() - 1))


def adam_step_reference(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    """The readable twin of :func:`adam_step_`, from torch operations."""
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    for p, g, m, v in zip(params, grads, means, squares, strict=True):
        lr, decay = _per_member(learning_rate, p), _per_member(weight_decay, p)
        on = _per_member(active, p).bool()
        weight = p * (1 - lr * decay) if decoupled else p
        gradient = g if decoupled else g + decay * weight
        mean = beta1 * m + (1 - beta1) * gradient
        square = beta2 * v + (1 - beta2) * gradient * gradient
        new = weight - lr / correction1 * mean / (square.sqrt() / correction2**0.5 + eps)
        m.copy_(torch.where(on, mean, m))
        v.copy_(torch.where(on, square, v))
        p.copy_(torch.where(on, new, p))


@torch.library.custom_op("grokfast::adam_step_", mutates_args=("params", "means", "squares"))
def adam_step_(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    r"""One Adam or AdamW step of every active member, in place; numerically ``torch.optim.Adam`` and ``AdamW``.

    With :math:`g \leftarrow g + \lambda\theta` (Adam) or :math:`\theta \leftarrow (1-\eta\lambda)\theta` (AdamW):

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
        \theta \leftarrow \theta - \eta \frac{m/(1-\beta_1^t)}{\sqrt{v/(1-\beta_2^t)} + \epsilon}

    Args:
        params: Tensors with members outermost, dense; float32 or float64. Changed in place.
        grads: One gradient per parameter, of the same strides.
        means: First moments :math:`m`. Changed in place.
        squares: Second moments :math:`v`. Changed in place.
        learning_rate: :math:`\eta`, float64 ``[E]``.
        weight_decay: :math:`\lambda`, float64 ``[E]``.
        active: uint8 ``[E]``; members with 0 are left untouched.
        step: :math:`t`, from 1.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: :math:`\epsilon`.
        decoupled: AdamW's decay instead of L2 decay in the gradient.

    Raises:
        InputError: If shapes, strides, dtypes or devices do not match, memory is shared or missing, or a constant is
            out of range.

    Source:
        Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    """
    check_adam([params, grads, means, squares], learning_rate, weight_decay, active)
    check_constants(step, beta1, beta2, eps)
    adam_step_reference(
        params, grads, means, squares, learning_rate, weight_decay, active, step, beta1, beta2, eps, decoupled
    )


@adam_step_.register_kernel(["cpu", "cuda"])
def _adam_compiled(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    check_adam([params, grads, means, squares], learning_rate, weight_decay, active)
    check_adam_memory([params, grads, means, squares], learning_rate, weight_decay, active)
    check_constants(step, beta1, beta2, eps)
    run, core = kernel("adam", params[0]), native()
    if run is None or core is None:
        adam_step_reference(
            params,
            grads,
            means,
            squares,
            learning_rate,
            weight_decay,
            active,
            step,
            beta1,
            beta2,
            eps,
            decoupled,
        )
        return
    constants = core.AdamConstants(beta1, beta2, eps, 1 - beta1**step, 1 - beta2**step, decoupled)
    rows = learning_rate.contiguous(), weight_decay.contiguous(), active.contiguous()
    for p, g, m, v in zip(params, grads, means, squares, strict=True):
        members, size = p.shape[0], p.numel() // max(1, p.shape[0])
        call(run, p, p, g, m, v, members, size, *rows, constants)


@adam_step_.register_fake
def _adam_fake(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    check_adam([params, grads, means, squares], learning_rate, weight_decay, active)


def adam_epoch_by_batches(
    params: list[Tensor],
    adam: AdamState,
    gradient: Callable[[slice, list[Tensor]], tuple[Tensor, Tensor]],
    samples: int,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """One epoch in place, for each batch a gradient and then a step; what the kernels of whole epochs are held to.

    Args:
        params: As for :func:`adam_step_`. Changed in place.
        adam: Its state; moments and ``active`` are changed in place.
        gradient: Sets the gradients of a batch, given by its samples; the mean loss and correct predictions ``[E]``.
        samples: In the epoch.
        batch_size: Samples a step; the last step takes what is left.

    Returns:
        Mean loss over the samples, float64 ``[E]``, and correct predictions, int64 ``[E]``.
    """
    grads = [torch.empty_like(p) for p in params]
    loss_sum, active, step = torch.zeros_like(adam.learning_rate), adam.active, adam.step
    correct = torch.zeros_like(active, dtype=torch.int64)
    for first in range(0, samples, batch_size):
        loss, hits = gradient(slice(first, first + batch_size), grads)
        active &= loss.isfinite()
        step += 1
        adam_step_(params, grads, *adam[:5], step, *adam[6:])
        loss_sum += loss.double() * min(batch_size, samples - first)
        correct += hits
    return loss_sum / samples, correct


def sgd_step_reference(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    velocities: Sequence[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    momentum: float,
) -> None:
    """The readable twin of :func:`sgd_step_`, from torch operations."""
    for p, g, u in zip(params, grads, velocities, strict=True):
        lr, decay = _per_member(learning_rate, p), _per_member(weight_decay, p)
        on = _per_member(active, p).bool()
        velocity = momentum * u + g + decay * p
        u.copy_(torch.where(on, velocity, u))
        p.copy_(torch.where(on, p - lr * velocity, p))


@torch.library.custom_op("grokfast::sgd_step_", mutates_args=("params", "velocities"))
def sgd_step_(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    momentum: float,
) -> None:
    r"""One step of SGD with momentum and L2 decay of every active member, in place, as ``torch.optim.SGD``.

    .. math:: u \leftarrow \mu u + g + \lambda\theta, \qquad \theta \leftarrow \theta - \eta u

    Args:
        params: Tensors with members outermost, dense; float32 or float64. Changed in place.
        grads: One gradient per parameter, of the same strides.
        velocities: :math:`u`, zero before the first step. Changed in place.
        learning_rate: :math:`\eta`, float64 ``[E]``.
        weight_decay: :math:`\lambda`, float64 ``[E]``.
        active: uint8 ``[E]``; members with 0 are left untouched.
        momentum: :math:`\mu`.

    Raises:
        InputError: If shapes, strides, dtypes or devices do not match.

    Source:
        Sutskever et al. 2013, in torch's form.
    """
    check_adam([params, grads, velocities], learning_rate, weight_decay, active)
    sgd_step_reference(params, grads, velocities, learning_rate, weight_decay, active, momentum)


@sgd_step_.register_kernel(["cpu", "cuda"])
def _sgd_compiled(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    momentum: float,
) -> None:
    check_adam([params, grads, velocities], learning_rate, weight_decay, active)
    check_adam_memory([params, grads, velocities], learning_rate, weight_decay, active)
    run = kernel("sgd", params[0])
    if run is None:
        sgd_step_reference(params, grads, velocities, learning_rate, weight_decay, active, momentum)
        return
    rows = learning_rate.contiguous(), weight_decay.contiguous(), active.contiguous()
    for p, g, u in zip(params, grads, velocities, strict=True):
        members, size = p.shape[0], p.numel() // max(1, p.shape[0])
        call(run, p, p, g, u, members, size, *rows, momentum)


@sgd_step_.register_fake
def _sgd_fake(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    momentum: float,
) -> None:
    check_adam([params, grads, velocities], learning_rate, weight_decay, active)

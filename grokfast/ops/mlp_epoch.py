"""An epoch of one-hidden-layer networks on two-hot pairs with Adam, in one kernel."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_range
from grokfast.ops._native import call, kernel, native
from grokfast.ops.mlp import check_losses, is_laid_out, mlp_cross_entropy_
from grokfast.ops.optimizer import AdamState, adam_epoch_by_batches
from grokfast.ops.optimizer_checks import check_adam, check_adam_memory, check_constants

_AGAIN, _STOPPED = 1, 2  # what the kernels say of a member that met something that is not finite


def mlp_adam_epoch_reference(
    params: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    pairs: Tensor,
    labels: Tensor,
    batch_size: int,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> tuple[Tensor, Tensor]:
    """The readable twin of :func:`mlp_adam_epoch_`: batch by batch, gradient and then step."""
    adam = AdamState(means, squares, learning_rate, weight_decay, active, step, beta1, beta2, eps, decoupled)

    def gradient(block: slice, grads: list[Tensor]) -> tuple[Tensor, Tensor]:
        loss, hits = mlp_cross_entropy_(params, pairs[:, block], labels[:, block], grads)
        return loss, hits

    loss, correct = adam_epoch_by_batches(params, adam, gradient, labels.shape[1], batch_size)
    frozen = active == 0
    return loss.masked_fill(frozen, torch.nan), correct.masked_fill(frozen, 0)


@torch.library.custom_op("grokfast::mlp_adam_epoch_", mutates_args=("params", "means", "squares", "active"))
def mlp_adam_epoch_(
    params: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    pairs: Tensor,
    labels: Tensor,
    batch_size: int,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> tuple[Tensor, Tensor]:
    """One epoch of a stack in place: for each batch a gradient (:func:`mlp_cross_entropy_`) and a step of Adam.

    Each member has the epoch to itself, in one task on the CPU and one block of a single launch on CUDA. On the CPU its
    parameters and moments are close by, sums run over the hidden units that are active on a pair alone, and a gradient
    is used where it is formed. The result equals the batch-by-batch one up to rounding, and does not depend on the
    other members or the number of threads.

    Args:
        params: As for :func:`mlp_cross_entropy_`. Changed in place.
        means: Adam's first moments, of the shapes and strides of ``params``. Changed in place.
        squares: Adam's second moments. Changed in place.
        pairs: int64 ``[E, N, 2]`` in ``0 .. P - 1``, in the order of training.
        labels: int64 ``[E, N]`` in ``0 .. C - 1``.
        batch_size: Samples a step, at least 1; the last step takes what is left.
        learning_rate: float64 ``[E]``.
        weight_decay: float64 ``[E]``.
        active: uint8 ``[E]``; members with 0 are left untouched. Set to 0 where the loss of a batch is not finite: that
            member stays as it was before the batch.
        step: Steps taken before this epoch, from 0.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: As for :func:`adam_step_`.
        decoupled: AdamW's decay instead of L2 decay in the gradient.

    Returns:
        Mean loss over the epoch's samples, each before the step of its batch, float64 ``[E]`` in nats, and correct
        predictions, int64 ``[E]``; NaN and 0 for members that are not active at the end.

    Raises:
        InputError: If shapes, strides, dtypes or devices do not match, or an index, label or constant is out of range.

    Source:
        Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    """
    _check([params, means, squares], pairs, labels, batch_size, (learning_rate, weight_decay, active), step)
    check_constants(step + 1, beta1, beta2, eps)
    return mlp_adam_epoch_reference(
        params, means, squares, pairs, labels, batch_size, learning_rate, weight_decay, active, step, beta1, beta2, eps,
        decoupled,
    )  # fmt: skip


@mlp_adam_epoch_.register_kernel(["cpu", "cuda"])
def mlp_adam_epoch_direct(
    params: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    pairs: Tensor,
    labels: Tensor,
    batch_size: int,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> tuple[Tensor, Tensor]:
    """The compiled body of :func:`mlp_adam_epoch_`, without torch's dispatcher around it."""
    _check([params, means, squares], pairs, labels, batch_size, (learning_rate, weight_decay, active), step)
    check_constants(step + 1, beta1, beta2, eps)
    check_adam_memory([params, means, squares], learning_rate, weight_decay, active, pairs, labels)
    members, width, inputs = params[0].shape
    classes = params[2].shape[1]
    check_range("pairs", pairs, inputs // 2)
    check_range("labels", labels, classes)
    rates = (learning_rate.contiguous(), weight_decay.contiguous())
    run, core = kernel("mlp_epoch", params[0]), native()
    # Padding stays zero only where 0 / (0 + eps) is 0.
    if run is None or core is None or not is_laid_out(params) or eps < torch.finfo(params[0].dtype).tiny:
        return mlp_adam_epoch_reference(
            params, means, squares, pairs, labels, batch_size, *rates, active, step, beta1, beta2, eps, decoupled
        )
    pairs, labels = pairs.contiguous(), labels.contiguous()
    loss = torch.full_like(learning_rate, torch.nan)
    correct, status = labels.new_zeros(members), torch.zeros_like(active)
    moments = array("q", [moment.data_ptr() for moment in (*means, *squares)])
    moments_at = moments.buffer_info()[0]
    constants = core.AdamConstants(beta1, beta2, eps, 0.0, 0.0, decoupled)
    call(
        run, params[0], *params, moments_at, pairs, labels, *rates, active.contiguous(), loss, correct, status,
        constants, step + 1, batch_size, members, labels.shape[1], inputs // 2, width, classes,
    )  # fmt: skip
    active.masked_fill_(status == _STOPPED, 0)
    if not params[0].is_cpu:
        return loss, correct  # the kernel there leaves nothing to be done, and nobody waits for it
    for e in (status == _AGAIN).nonzero().flatten().tolist():  # something was not finite: step by step
        one = slice(e, e + 1)
        p, m, v = ([tensor[one] for tensor in group] for group in (params, means, squares))
        rows = (rates[0][one], rates[1][one], active[one])
        loss[one], correct[one] = mlp_adam_epoch_reference(
            p, m, v, pairs[one], labels[one], batch_size, *rows, step, beta1, beta2, eps, decoupled
        )
    return loss, correct


@mlp_adam_epoch_.register_fake
def _fake(
    params: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    pairs: Tensor,
    labels: Tensor,
    batch_size: int,
    learning_rate: Tensor,
    weight_decay: Tensor,
    active: Tensor,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> tuple[Tensor, Tensor]:
    _check([params, means, squares], pairs, labels, batch_size, (learning_rate, weight_decay, active), step)
    return torch.empty_like(learning_rate), labels.new_empty(labels.shape[0])


def _check(
    tensors: Sequence[list[Tensor]],
    pairs: Tensor,
    labels: Tensor,
    batch_size: int,
    rows: tuple[Tensor, Tensor, Tensor],
    step: int,
) -> None:
    check_losses(tensors[0], pairs, labels)
    check_adam(tensors, *rows)
    if batch_size < 1 or step < 0:
        raise InputError(f"batch_size must be at least 1 and step at least 0, got {batch_size} and {step}")

"""Losses of nested networks, each of which has all parameters of the one before it and some more."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_memory, check_range
from grokfast.ops._native import call, kernel
from grokfast.ops.mlp import check_losses, mlp_losses


def mlp_nested_losses_reference(
    params: list[Tensor], arrivals: list[Tensor], count: int, pairs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """The readable twin of :func:`mlp_nested_losses`: one pass of :func:`mlp_losses` a member and network."""
    loss = params[0].new_empty(params[0].shape[0], count)
    correct = labels.new_empty(loss.shape)
    for e in range(loss.shape[0]):
        one = slice(e, e + 1)
        for k in range(count):
            kept = [torch.where(when[one] <= k, own[one], 0.0) for own, when in zip(params, arrivals, strict=True)]
            loss[one, k], correct[one, k] = mlp_losses(kept, pairs[one], labels[one])
    return loss, correct


def _check(params: list[Tensor], arrivals: list[Tensor], count: int, pairs: Tensor, labels: Tensor) -> None:
    check_losses(params, pairs, labels)
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    shapes = [list(tensor.shape) for tensor in params]
    if [list(when.shape) for when in arrivals] != shapes or any(when.dtype != torch.int32 for when in arrivals):
        got = [f"{when.dtype} {list(when.shape)}" for when in arrivals]
        raise InputError(f"arrivals must be int32 of the shapes of the parameters, {shapes}, got {got}")
    check_device(params[0], **{f"arrivals[{k}]": when for k, when in enumerate(arrivals)})


@torch.library.custom_op("grokfast::mlp_nested_losses", mutates_args=())
def mlp_nested_losses(
    params: list[Tensor], arrivals: list[Tensor], count: int, pairs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Mean cross entropy and correct predictions of nested networks of each member of a stack.

    Network k of member e is the one-hidden-layer network of :func:`mlp_losses` with parameters

    .. math:: \theta^{(k)}_{ei} = \theta_{ei}\,[a_{ei} \le k], \qquad k = 0, \dots, K - 1

    where a is the arrival. On the CPU only what changes from one network to the next is worked out: the activation of
    a unit on a pair changes three times at most, and each weight of the second layer arrives once. Logits are sums of
    these changes and differ from those of a pass of its own by rounding; a pair whose label's logit is within rounding
    of another has them summed afresh. A member with a loss that is not finite is evaluated again, network by network,
    as all are on CUDA.

    Args:
        params: Weight ``[E, H, 2P]`` (fastest stored with its last two axes swapped), bias ``[E, H]``, weight
            ``[E, C, H]``, bias ``[E, C]``; float32 or float64.
        arrivals: int32 in ``0 .. K``, of the shapes of ``params``: the first network that has the parameter, K if none.
        count: K, the number of networks.
        pairs: int64 ``[E, N, 2]`` in ``0 .. P - 1``.
        labels: int64 ``[E, N]`` in ``0 .. C - 1``.

    Returns:
        Loss ``[E, K]`` in nats (NaN if a logit is not finite) and correct predictions, int64 ``[E, K]``.

    Raises:
        InputError: If shapes or dtypes do not match, or an arrival, index or label is out of range.
    """
    _check(params, arrivals, count, pairs, labels)
    for when in arrivals:
        check_range("arrivals", when, count + 1)
    return mlp_nested_losses_reference(params, arrivals, count, pairs, labels)


def _stored(tensors: list[Tensor]) -> list[Tensor]:
    """As the kernel reads them: the first matrix input-major, the others row-major."""
    return [tensors[0].transpose(1, 2).contiguous(), *(tensor.contiguous() for tensor in tensors[1:])]


@mlp_nested_losses.register_kernel(["cpu", "cuda"])
def _compiled(
    params: list[Tensor], arrivals: list[Tensor], count: int, pairs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    _check(params, arrivals, count, pairs, labels)
    check_memory((*params, *arrivals, pairs, labels))
    for when in arrivals:
        check_range("arrivals", when, count + 1)
    run = kernel("mlp_nested", params[0])
    if run is None:
        return mlp_nested_losses_reference(params, arrivals, count, pairs, labels)
    members, width, inputs = params[0].shape
    classes = params[2].shape[1]
    check_range("pairs", pairs, inputs // 2)
    check_range("labels", labels, classes)
    pairs, labels = pairs.contiguous(), labels.contiguous()
    loss, correct = params[0].new_empty(members, count), labels.new_empty(members, count)
    tensors = [*_stored(params), *_stored(arrivals)]
    sizes = (members, count, labels.shape[1], inputs // 2, width, classes)
    call(run, loss, *tensors, pairs, labels, loss, correct, *sizes)
    if not loss.is_cpu:
        return loss, correct  # network by network there
    # What is infinite or NaN in one network must not stay in those after it.
    again = (~loss.isfinite().all(1)).nonzero().flatten()
    if len(again):
        loss[again], correct[again] = mlp_nested_losses_reference(
            [own[again] for own in params], [when[again] for when in arrivals], count, pairs[again], labels[again]
        )
    return loss, correct


@mlp_nested_losses.register_fake
def _fake(
    params: list[Tensor], arrivals: list[Tensor], count: int, pairs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    _check(params, arrivals, count, pairs, labels)
    shape = (params[0].shape[0], count)
    return params[0].new_empty(shape), labels.new_empty(shape)

"""The first layer of a network on two-hot pairs, by gathering two weight rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_floats, check_memory, check_range
from grokfast.ops._native import call, kernel


def two_hot_relu_reference(weight: Tensor, bias: Tensor, pairs: Tensor) -> Tensor:
    """The readable twin of :func:`two_hot_relu`: the two-hot vectors and the matrix product are formed."""
    size = weight.shape[2] // 2
    one_hot = torch.nn.functional.one_hot(pairs, size).flatten(-2).to(weight.dtype)
    return torch.relu(one_hot @ weight.transpose(1, 2) + bias[:, None])


def check_pairs(weight: Tensor, bias: Tensor, pairs: Tensor) -> None:
    """Raise unless weight, bias and pairs fit together; their range is checked elsewhere."""
    if weight.dim() != 3 or weight.shape[2] % 2 or bias.shape != weight.shape[:2]:
        raise InputError(f"expected weight [E, H, 2P] and bias [E, H], got {list(weight.shape)} and {list(bias.shape)}")
    if pairs.dim() != 3 or pairs.shape[0] != weight.shape[0] or pairs.shape[2] != 2 or pairs.dtype != torch.int64:
        raise InputError(f"pairs must be int64 [{weight.shape[0]}, N, 2], got {pairs.dtype} {list(pairs.shape)}")
    check_floats(weight, bias=bias)
    check_device(weight, pairs=pairs)


@torch.library.custom_op("grokfast::two_hot_relu", mutates_args=())
def two_hot_relu(weight: Tensor, bias: Tensor, pairs: Tensor) -> Tensor:
    r"""ReLU of a linear layer on two-hot inputs, for a stack of members, without forming the inputs.

    .. math:: h_{enk} = \max\bigl(0,\; W_{ek,a} + W_{ek,P+b} + c_{ek}\bigr), \qquad (a, b) = \text{pairs}_{en}

    Args:
        weight: ``[E, H, 2P]``, as ``nn.Linear`` has it; fastest when stored with the last two axes swapped.
        bias: ``[E, H]``.
        pairs: int64 ``[E, N, 2]`` in ``0 .. P - 1``.

    Returns:
        ``[E, N, H]``.

    Raises:
        InputError: If shapes or dtypes do not match, or an index is out of range.

    Source:
        arXiv 2502.01739, the input of modular addition.
    """
    check_pairs(weight, bias, pairs)
    check_range("pairs", pairs, weight.shape[2] // 2)
    return two_hot_relu_reference(weight, bias, pairs)


@two_hot_relu.register_kernel(["cpu", "cuda"])
def _compiled(weight: Tensor, bias: Tensor, pairs: Tensor) -> Tensor:
    check_pairs(weight, bias, pairs)
    check_memory((weight, bias, pairs))
    check_range("pairs", pairs, weight.shape[2] // 2)
    run = kernel("two_hot_relu", weight)
    if run is None:
        return two_hot_relu_reference(weight, bias, pairs)
    rows, bias, pairs = weight.transpose(1, 2).contiguous(), bias.contiguous(), pairs.contiguous()
    members, samples, width = weight.shape[0], pairs.shape[1], weight.shape[1]
    out = weight.new_empty(members, samples, width)
    call(run, weight, rows, bias, pairs, out, members, samples, weight.shape[2] // 2, width)
    return out


@two_hot_relu.register_fake
def _fake(weight: Tensor, bias: Tensor, pairs: Tensor) -> Tensor:
    check_pairs(weight, bias, pairs)
    return weight.new_empty(weight.shape[0], pairs.shape[1], weight.shape[1])


def two_hot_relu_backward_reference(grad: Tensor, h: Tensor, pairs: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The readable twin of :func:`two_hot_relu_backward`, from torch operations."""
    live = torch.where(h <= 0, 0, grad)
    rows = grad.new_zeros(grad.shape[0], 2 * size, grad.shape[2])
    member = torch.arange(grad.shape[0], device=grad.device)[:, None].expand(pairs.shape[:2])
    rows.index_put_((member, pairs[..., 0]), live, accumulate=True)
    rows.index_put_((member, size + pairs[..., 1]), live, accumulate=True)
    return rows.transpose(1, 2), live.sum(1)


def _check_backward(grad: Tensor, h: Tensor, pairs: Tensor, size: int) -> None:
    if grad.dim() != 3 or h.shape != grad.shape:
        raise InputError(f"expected gradient and activations [E, N, H], got {list(grad.shape)} and {list(h.shape)}")
    if pairs.shape != (*grad.shape[:2], 2) or pairs.dtype != torch.int64:
        raise InputError(f"pairs must be int64 {[*grad.shape[:2], 2]}, got {pairs.dtype} {list(pairs.shape)}")
    if size < 0:
        raise InputError(f"size must be at least 0, got {size}")
    check_floats(grad, activations=h)
    check_device(grad, pairs=pairs)


@torch.library.custom_op("grokfast::two_hot_relu_backward", mutates_args=())
def two_hot_relu_backward(grad: Tensor, h: Tensor, pairs: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`two_hot_relu`.

    Args:
        grad: Gradient at its result, ``[E, N, H]``.
        h: The result itself.
        pairs: int64 ``[E, N, 2]`` in ``0 .. size - 1``.
        size: P.

    Returns:
        Gradients of the weight ``[E, H, 2P]``, stored with its last two axes swapped, and the bias ``[E, H]``.

    Raises:
        InputError: If shapes, dtypes or devices do not match, or an index is out of range.
    """
    _check_backward(grad, h, pairs, size)
    check_range("pairs", pairs, size)
    return two_hot_relu_backward_reference(grad, h, pairs, size)


@two_hot_relu_backward.register_kernel(["cpu", "cuda"])
def _backward_compiled(grad: Tensor, h: Tensor, pairs: Tensor, size: int) -> tuple[Tensor, Tensor]:
    _check_backward(grad, h, pairs, size)
    check_memory((grad, h, pairs))
    check_range("pairs", pairs, size)
    run = kernel("two_hot_relu_backward", grad)
    if run is None:
        return two_hot_relu_backward_reference(grad, h, pairs, size)
    grad, h, pairs = grad.contiguous(), h.contiguous(), pairs.contiguous()
    members, samples, width = grad.shape
    rows, bias = grad.new_empty(members, 2 * size, width), grad.new_empty(members, width)
    call(run, grad, grad, h, pairs, rows, bias, members, samples, size, width)
    return rows.transpose(1, 2), bias


@two_hot_relu_backward.register_fake
def _backward_fake(grad: Tensor, h: Tensor, pairs: Tensor, size: int) -> tuple[Tensor, Tensor]:
    _check_backward(grad, h, pairs, size)
    members, _, width = grad.shape
    return grad.new_empty(members, 2 * size, width).transpose(1, 2), grad.new_empty(members, width)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    weight, _, pairs = inputs
    ctx.save_for_backward(output, pairs)
    ctx.size = weight.shape[2] // 2


@once_differentiable
def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    h, pairs = ctx.saved_tensors
    return *two_hot_relu_backward(grad, h, pairs, ctx.size), None


two_hot_relu.register_autograd(_backward, setup_context=_setup_context)

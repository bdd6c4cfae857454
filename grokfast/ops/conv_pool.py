"""Convolution, ReLU and 2×2 max-pooling of a stack of networks in one operation, without the map before pooling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_floats, check_memory
from grokfast.ops._native import call, kernel

DEAD = 4
"""The winner of a window in which no value is positive."""


def conv_relu_pool(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    r"""A stacked convolution, ReLU and 2×2 max-pooling; differentiable in all three tensors, once.

    .. math:: h_{enoij} = \max_{a, b \in \{0, 1\}} \max\Bigl(0,\; c_{eo} + \sum_{c,u,v} W_{eocuv}\,
              x_{en,c,\,2i+a+u-r,\,2j+b+v-r}\Bigr), \qquad r = (k - 1) / 2

    with x zero outside the map ("same" padding). Of equal maxima the first, in row-major order, takes the gradient;
    a window without a positive value passes none on.

    Args:
        inputs: ``[E, N, C, H, W]``, float32 or float64, H and W at least 2.
        weight: ``[E, O, C, k, k]``, k odd.
        bias: ``[E, O]``.

    Returns:
        ``[E, N, O, H // 2, W // 2]``: of odd sizes the last row or column is dropped, as ``nn.MaxPool2d(2)`` does.
        A window with a NaN gives NaN; where its gradient goes is not specified.

    Raises:
        InputError: If shapes or dtypes do not match.

    Source:
        arXiv 2502.01739, table of models (the Ising CNN).
    """
    pooled: Tensor = conv_relu_pool_winners(inputs, weight, bias)[0]
    return pooled


def conv_relu_pool_winners_reference(inputs: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The readable twin of :func:`conv_relu_pool_winners`, from torch operations."""
    members, outputs = weight.shape[:2]
    x = inputs.transpose(0, 1).flatten(1, 2)
    z = torch.conv2d(x, weight.flatten(0, 1), bias.flatten(), padding=weight.shape[-1] // 2, groups=members)
    pooled, index = torch.nn.functional.max_pool2d(torch.relu(z), 2, return_indices=True)
    width = z.shape[-1]
    winners = index // width % 2 * 2 + index % width % 2
    winners = torch.where(pooled <= 0, DEAD, winners).to(torch.uint8)
    shape = (len(x), members, outputs, *pooled.shape[2:])
    pooled, winners = (tensor.view(shape).transpose(0, 1).contiguous() for tensor in (pooled, winners))
    return pooled, winners


def check_conv(inputs_shape: tuple[int, ...], weight: Tensor, bias: Tensor | None = None, name: str = "") -> None:
    """Raise unless a layer fits the shape ``[E, N, C, H, W]`` of what it gets; ``name`` says which layer, in errors."""
    if len(inputs_shape) != 5 or inputs_shape[3] < 2 or inputs_shape[4] < 2:
        raise InputError(
            f"inputs{name} must be [E, N, C, H, W] with H and W at least 2, to be pooled by 2, got {list(inputs_shape)}"
        )
    members, _, channels = inputs_shape[:3]
    shape = weight.shape
    if 0 in (members, channels, *shape[1:2]):
        raise InputError(
            f"expected at least one member, channel and output{name}, got inputs {list(inputs_shape)} and weight "
            f"{list(shape)}"
        )
    if weight.dim() != 5 or shape[0] != members or shape[2] != channels or shape[3] != shape[4] or shape[3] % 2 == 0:
        raise InputError(f"expected weight{name} [{members}, O, {channels}, k, k] with k odd, got {list(shape)}")
    if bias is not None and bias.shape != shape[:2]:
        raise InputError(f"expected bias{name} {list(shape[:2])}, got {list(bias.shape)}")


def _check(inputs: Tensor, weight: Tensor, bias: Tensor) -> None:
    check_conv(tuple(inputs.shape), weight, bias)
    check_floats(inputs, weight=weight, bias=bias)


@torch.library.custom_op("grokfast::conv_relu_pool_winners", mutates_args=())
def conv_relu_pool_winners(inputs: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """What :func:`conv_relu_pool` returns, and who won.

    Args:
        inputs: As for :func:`conv_relu_pool`.
        weight: As for :func:`conv_relu_pool`.
        bias: As for :func:`conv_relu_pool`.

    Returns:
        The pooled map, and uint8 of its shape: the place of the maximum in its window, ``2a + b``, or 4 where nothing
        is positive.

    Raises:
        InputError: If shapes or dtypes do not match.
    """
    _check(inputs, weight, bias)
    return conv_relu_pool_winners_reference(inputs, weight, bias)


def shared_samples(inputs: Tensor) -> tuple[Tensor, int]:
    """Inputs ``[E, N, ...]`` with dense samples, and how far apart members are: 0 if they share them."""
    if inputs.shape[0] > 1 and inputs.stride(0) == 0:
        return inputs[:1].contiguous(), 0
    if inputs.shape[0] and not inputs[0].is_contiguous():
        inputs = inputs.contiguous()
    return inputs, inputs.stride(0)


@conv_relu_pool_winners.register_kernel(["cpu", "cuda"])
def _compiled(inputs: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    _check(inputs, weight, bias)
    check_memory((inputs, weight, bias))
    run = kernel("conv_relu_pool", inputs)
    if run is None:
        return conv_relu_pool_winners_reference(inputs, weight, bias)
    members, samples, channels, height, width = inputs.shape
    x, step = shared_samples(inputs)
    weight, bias = weight.contiguous(), bias.contiguous()
    pooled, winners = _fake(inputs, weight, bias)
    sizes = (members, samples, channels, height, width, weight.shape[1], weight.shape[-1])
    call(run, inputs, x, step, weight, bias, pooled, winners, *sizes)
    return pooled, winners


@conv_relu_pool_winners.register_fake
def _fake(inputs: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    _check(inputs, weight, bias)
    shape = (*inputs.shape[:2], weight.shape[1], inputs.shape[3] // 2, inputs.shape[4] // 2)
    return inputs.new_empty(shape), inputs.new_empty(shape, dtype=torch.uint8)


def conv_relu_pool_backward_reference(
    grad: Tensor, winners: Tensor, inputs: Tensor, weight: Tensor, with_inputs: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The readable twin of :func:`conv_relu_pool_backward`, from torch operations."""
    members, samples, channels, height, width = inputs.shape
    full = grad.new_zeros(*winners.shape[:3], height, width)
    for place in range(DEAD):
        rows, columns = slice(place // 2, height // 2 * 2, 2), slice(place % 2, width // 2 * 2, 2)
        full[..., rows, columns] = torch.where(winners == place, grad, 0)
    padding = weight.shape[-1] // 2
    found = torch.ops.aten.convolution_backward(
        full.transpose(0, 1).flatten(1, 2),
        inputs.transpose(0, 1).flatten(1, 2),
        weight.flatten(0, 1),
        None,
        [1, 1],
        [padding, padding],
        [1, 1],
        False,
        [0, 0],
        members,
        [with_inputs, True, False],
    )
    if with_inputs:
        g_inputs = found[0].view(samples, members, channels, height, width).transpose(0, 1).contiguous()
    else:
        g_inputs = inputs.new_empty(0)
    return g_inputs, found[1].view(weight.shape), full.sum((1, 3, 4))


def _check_backward(grad: Tensor, winners: Tensor, inputs: Tensor, weight: Tensor) -> None:
    check_conv(tuple(inputs.shape), weight)
    shape = (*inputs.shape[:2], weight.shape[1], inputs.shape[3] // 2, inputs.shape[4] // 2)
    if grad.shape != shape or winners.shape != shape or winners.dtype != torch.uint8:
        raise InputError(
            f"expected a gradient and uint8 winners {list(shape)}, got {list(grad.shape)} and {winners.dtype} "
            f"{list(winners.shape)}"
        )
    check_floats(inputs, weight=weight, gradient=grad)
    check_device(inputs, winners=winners)


@torch.library.custom_op("grokfast::conv_relu_pool_backward", mutates_args=())
def conv_relu_pool_backward(
    grad: Tensor, winners: Tensor, inputs: Tensor, weight: Tensor, with_inputs: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`conv_relu_pool`.

    Args:
        grad: Gradient at the pooled map.
        winners: From :func:`conv_relu_pool_winners`.
        inputs: What the layer got.
        weight: Its weight.
        with_inputs: Whether the gradient at the inputs is wanted.

    Returns:
        Gradients of inputs (empty without ``with_inputs``), weight and bias.

    Raises:
        InputError: If shapes or dtypes do not match.
    """
    _check_backward(grad, winners, inputs, weight)
    return conv_relu_pool_backward_reference(grad, winners, inputs, weight, with_inputs)


@conv_relu_pool_backward.register_kernel(["cpu", "cuda"])
def _backward_compiled(
    grad: Tensor, winners: Tensor, inputs: Tensor, weight: Tensor, with_inputs: bool
) -> tuple[Tensor, Tensor, Tensor]:
    _check_backward(grad, winners, inputs, weight)
    check_memory((grad, winners, inputs, weight))
    run = kernel("conv_relu_pool_backward", inputs)
    if run is None:
        return conv_relu_pool_backward_reference(grad, winners, inputs, weight, with_inputs)
    members, samples, channels, height, width = inputs.shape
    x, step = shared_samples(inputs)
    grad, winners, weight = grad.contiguous(), winners.contiguous(), weight.contiguous()
    found: tuple[Tensor, Tensor, Tensor] = _backward_fake(grad, winners, inputs, weight, with_inputs)
    sizes = (members, samples, channels, height, width, weight.shape[1], weight.shape[-1])
    call(run, inputs, grad, winners, x, step, weight, found[0] if with_inputs else 0, *found[1:], *sizes)
    return found


@conv_relu_pool_backward.register_fake
def _backward_fake(
    grad: Tensor, winners: Tensor, inputs: Tensor, weight: Tensor, with_inputs: bool
) -> tuple[Tensor, Tensor, Tensor]:
    _check_backward(grad, winners, inputs, weight)
    g_inputs = inputs.new_empty(inputs.shape) if with_inputs else inputs.new_empty(0)
    return g_inputs, weight.new_empty(weight.shape), weight.new_empty(weight.shape[:2])


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], *inputs[:2])


@once_differentiable
def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    wanted = ctx.needs_input_grad[0]
    g_inputs, g_weight, g_bias = conv_relu_pool_backward(grad, *ctx.saved_tensors, wanted)
    return g_inputs if wanted else None, g_weight, g_bias


conv_relu_pool_winners.register_autograd(_backward, setup_context=_setup_context)

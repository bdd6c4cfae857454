"""The linear rule of the Fisher diagonal: sums of squared per-sample gradients of a weight matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_floats, check_memory
from grokfast.ops._native import call, kernel


def fisher_linear_reference(g: Tensor, a: Tensor) -> Tensor:
    """The readable twin of :func:`fisher_linear`: forms every per-sample gradient."""
    per_sample = torch.einsum("...nto,...nti->...noi", g, a)
    return (per_sample * per_sample).sum(-3)


def _check(g: Tensor, a: Tensor) -> None:
    if g.dim() != 4 or a.dim() != 4 or g.shape[:3] != a.shape[:3]:
        raise InputError(
            "fisher_linear expects g [E, N, T, O] and a [E, N, T, I] with equal E, N and T, "
            f"got {list(g.shape)} and {list(a.shape)}"
        )
    check_floats(g, a=a)


@torch.library.custom_op("grokfast::fisher_linear", mutates_args=())
def fisher_linear(g: Tensor, a: Tensor) -> Tensor:
    r"""Sum of squared per-sample gradients of a weight matrix, for a stack of members.

    .. math:: F_{eoi} = \sum_n \Bigl( \sum_t g_{ento} \, a_{enti} \Bigr)^2

    For a linear layer applied at positions ``t``, ``a`` is its input and ``g`` the gradient at its output,
    one row per sample ``n`` (or per sample and label): the inner sum is that sample's weight gradient. No
    ``N x O x I`` array is formed by the compiled kernels.

    Args:
        g: ``[E, N, T, O]``, float32 or float64.
        a: ``[E, N, T, I]``, the same dtype and device.

    Returns:
        ``[E, O, I]``, in the square of the loss's unit per unit of weight.

    Raises:
        InputError: If shapes, dtypes or devices do not match.

    Source:
        arXiv 2502.01739, eq. 14 with the gradient of a linear layer.
    """
    _check(g, a)
    return fisher_linear_reference(g, a)


def _compiled(g: Tensor, a: Tensor) -> Tensor:
    _check(g, a)
    check_memory((g, a))
    run = kernel("fisher_linear", g)
    if run is None:
        return fisher_linear_reference(g, a)
    g, a = g.contiguous(), a.contiguous()
    members, samples, positions, rows = g.shape
    columns = a.shape[-1]
    out = g.new_empty(members, rows, columns)
    call(run, g, g, a, out, members, samples, positions, rows, columns)
    return out


fisher_linear.register_kernel(["cpu", "cuda"])(_compiled)


@fisher_linear.register_fake
def _fake(g: Tensor, a: Tensor) -> Tensor:
    _check(g, a)
    return g.new_empty(g.shape[0], g.shape[3], a.shape[3])


@fisher_linear.register_vmap
def _vmap(info: object, in_dims: tuple[int | None, int | None], g: Tensor, a: Tensor) -> tuple[Tensor, int]:
    size = next(tensor.shape[dim] for tensor, dim in zip((g, a), in_dims, strict=True) if dim is not None)
    g, a = (
        tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip((g, a), in_dims, strict=True)
    )
    return fisher_linear(g.flatten(0, 1), a.flatten(0, 1)).unflatten(0, (size, -1)), 0

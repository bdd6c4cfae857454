"""The convolution's rule of the Fisher diagonal: patches folded into the sum of squares."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_floats, check_memory
from grokfast.ops._native import call, kernel


def fisher_patches_reference(g: Tensor, x: Tensor, base: Tensor, offset: Tensor) -> Tensor:
    """The readable twin of :func:`fisher_patches`: lays out every patch and every per-sample gradient."""
    patches = x[..., base.unsqueeze(1) + offset]
    per_sample = torch.einsum("enhol,enhlk->enhok", g, patches)
    return per_sample.square().sum(1)


def _check(g: Tensor, x: Tensor, base: Tensor, offset: Tensor) -> None:
    if g.dim() != 5 or x.dim() != 4 or g.shape[:3] != x.shape[:3]:
        raise InputError(
            "fisher_patches expects g [E, N, H, O, L] and x [E, N, H, pixels] with equal E, N and H, got "
            f"{list(g.shape)} and {list(x.shape)}"
        )
    check_floats(g, x=x)
    if base.dim() != 1 or offset.dim() != 1 or base.shape[0] != g.shape[-1]:
        raise InputError(
            f"base must be [L = {g.shape[-1]}] and offset [K], got {list(base.shape)}, {list(offset.shape)}"
        )
    if base.dtype != torch.int64 or offset.dtype != torch.int64:
        raise InputError(f"base and offset must be int64, got {base.dtype} and {offset.dtype}")
    check_device(g, base=base, offset=offset)


@torch.library.custom_op("grokfast::fisher_patches", mutates_args=())
def fisher_patches(g: Tensor, x: Tensor, base: Tensor, offset: Tensor) -> Tensor:
    r"""Sum of squared per-sample gradients of a convolution kernel, for a stack of members and groups of channels.

    .. math:: F_{ehok} = \sum_n \Bigl( \sum_l g_{enhol} \, x_{enh, \, b_l + s_k} \Bigr)^2

    ``b`` is where the patch of output position ``l`` starts in the flattened padded image, ``s`` the step
    from there to the patch's entry ``k``; together they describe any stride, dilation and number of dimensions.

    Args:
        g: Gradients at the output, ``[E, N, H, O, L]``, float32 or float64.
        x: Padded images, ``[E, N, H, pixels]``, the same dtype and device.
        base: ``[L]``, int64.
        offset: ``[K]``, int64; every sum ``base + offset`` must lie in [0, pixels).

    Returns:
        ``[E, H, O, K]``.

    Raises:
        InputError: If shapes, dtypes or devices do not match, or an index leaves the image.

    Source:
        arXiv 2502.01739, eq. 14 with the gradient of a convolution.
    """
    _check(g, x, base, offset)
    _check_range(x, base, offset)
    return fisher_patches_reference(g, x, base, offset)


def _check_range(x: Tensor, base: Tensor, offset: Tensor) -> None:
    if base.numel() and offset.numel():
        low, high = int(base.min()) + int(offset.min()), int(base.max()) + int(offset.max())
        if low < 0 or high >= x.shape[-1]:
            raise InputError(f"base + offset must lie in [0, {x.shape[-1]}), got {low} to {high}")


def _compiled(g: Tensor, x: Tensor, base: Tensor, offset: Tensor) -> Tensor:
    _check(g, x, base, offset)
    check_memory((g, x, base, offset))
    _check_range(x, base, offset)
    run = kernel("fisher_patches", g)
    if run is None:
        return fisher_patches_reference(g, x, base, offset)
    g, x, base, offset = g.contiguous(), x.contiguous(), base.contiguous(), offset.contiguous()
    members, samples, groups, rows, positions = g.shape
    out = g.new_empty(members, groups, rows, offset.shape[0])
    call(
        run,
        g,
        g,
        x,
        base,
        offset,
        out,
        members,
        samples,
        groups,
        rows,
        positions,
        offset.shape[0],
        x.shape[-1],
    )
    return out


fisher_patches.register_kernel(["cpu", "cuda"])(_compiled)


@fisher_patches.register_fake
def _fake(g: Tensor, x: Tensor, base: Tensor, offset: Tensor) -> Tensor:
    _check(g, x, base, offset)
    return g.new_empty(g.shape[0], g.shape[2], g.shape[3], offset.shape[0])


@fisher_patches.register_vmap
def _vmap(
    info: object, in_dims: tuple[int | None, ...], g: Tensor, x: Tensor, base: Tensor, offset: Tensor
) -> tuple[Tensor, int]:
    if in_dims[2] is not None or in_dims[3] is not None:
        raise InputError("fisher_patches cannot be mapped over base or offset")
    size = next(t.shape[d] for t, d in zip((g, x), in_dims[:2], strict=True) if d is not None)
    g, x = (
        t.expand(size, *t.shape) if d is None else t.movedim(d, 0) for t, d in zip((g, x), in_dims[:2], strict=True)
    )
    return fisher_patches(g.flatten(0, 1), x.flatten(0, 1), base, offset).unflatten(0, (size, -1)), 0

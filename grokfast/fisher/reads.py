"""Operations after which a model may know something of a batch that the autograd graph does not show.

A graph shows what becomes of differentiable numbers. A mask, an order, a length, a number read by Python is not in
it, and may depend on all samples of a batch.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

# What a tensor is, not what it holds.
_FORM = frozenset({
    Tensor.shape.__get__, Tensor.dtype.__get__, Tensor.device.__get__, Tensor.ndim.__get__,  # type: ignore[attr-defined]
    Tensor.layout.__get__, Tensor.is_cuda.__get__, Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
    Tensor.is_nested.__get__, Tensor.is_sparse.__get__, Tensor.is_leaf.__get__,  # type: ignore[attr-defined]
    Tensor.size, Tensor.dim, Tensor.numel, Tensor.stride, Tensor.__len__, Tensor.is_floating_point, Tensor.is_complex,
    Tensor.is_contiguous, Tensor.ndimension, Tensor.nelement, Tensor.element_size,
    Tensor.new_zeros, Tensor.new_ones, Tensor.new_full, Tensor.new_empty,
})  # fmt: skip
# The same numbers of every sample in another form.
_CASTS = frozenset({
    Tensor.float, Tensor.double, Tensor.long, Tensor.int, Tensor.to, Tensor.type_as, Tensor.contiguous, Tensor.view,
    Tensor.reshape, Tensor.flatten, Tensor.unsqueeze,
})  # fmt: skip


def harmless(func: Any, args: tuple[Any, ...], out: Any) -> bool:
    """Whether all that an operation tells is in the graph, or is no matter of values."""
    if isinstance(out, Tensor):
        if out.requires_grad:
            return True
    elif isinstance(out, tuple | list) and out and all(isinstance(part, Tensor) and part.requires_grad for part in out):
        return True
    first = args[0] if args else None
    if not isinstance(first, Tensor):
        return not any(isinstance(a, Tensor | tuple | list) for a in args)
    if func in _FORM or out is first:
        return True
    return isinstance(out, Tensor) and func in _CASTS and out.shape[:1] == first.shape[:1]

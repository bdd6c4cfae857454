"""Whether parameters, their gradients and an optimiser's state fit together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._arguments import check_device, check_floats, check_memory, check_same


def check_adam(
    tensors: Sequence[Sequence[Tensor]], learning_rate: Tensor, weight_decay: Tensor, active: Tensor
) -> None:
    """Raise unless parameters, what belongs to them, and the members' rows fit together, as :func:`adam_step_` says."""
    params = tensors[0]
    if not params or any(len(group) != len(params) for group in tensors):
        raise InputError(
            f"expected a parameter or more, with one gradient and state each, got {[len(group) for group in tensors]}"
        )
    check_floats(params[0], **{f"parameter {k}": p for k, p in enumerate(params)})
    check_device(params[0], learning_rate=learning_rate, weight_decay=weight_decay, active=active)
    members = params[0].shape[0] if params[0].dim() else 0
    for k, group in enumerate(zip(*tensors, strict=True)):
        p = group[0]
        check_same(p, {f"gradient or state {j} of parameter {k}": other for j, other in enumerate(group[1:])})
        for other in group[1:]:
            if other.shape != p.shape or other.stride() != p.stride():
                raise InputError(
                    f"parameter {k}: expected the shape and strides {list(p.shape)}, {p.stride()}, "
                    f"got {list(other.shape)}, {other.stride()}"
                )
        if p.dim() == 0 or p.shape[0] != members:
            raise InputError(f"parameter {k} must be [{members}, ...], as the first is, got {list(p.shape)}")
        if p.numel() and (p.stride(0) * members != p.numel() or not (p.is_contiguous() or _is_dense(p))):
            raise InputError(f"parameter {k} must be dense with members outermost, got strides {p.stride()}")
    for name, row in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if row.shape != (members,) or row.dtype != torch.float64:
            raise InputError(f"{name} must be float64 [{members}], got {row.dtype} {list(row.shape)}")
    if active.shape != (members,) or active.dtype != torch.uint8:
        raise InputError(f"active must be uint8 [{members}], got {active.dtype} {list(active.shape)}")


def check_adam_memory(tensors: Sequence[Sequence[Tensor]], *rows: Tensor) -> None:
    """Raise unless the memory that these tensors describe is there and shared by no two of a parameter's."""
    check_memory([*(tensor for group in tensors for tensor in group), *rows])
    for k, group in enumerate(zip(*tensors, strict=True)):
        if group[0].numel() and len({tensor.data_ptr() for tensor in group}) < len(group):
            raise InputError(f"parameter {k}, its gradient and its states must not share memory")


def check_constants(step: int, beta1: float, beta2: float, eps: float) -> None:
    """Raise unless the constants of a step of Adam are ones: step counts from 1."""
    if step < 1 or not (0 <= beta1 < 1 and 0 <= beta2 < 1 and eps >= 0):
        raise InputError(
            f"expected step >= 1, beta1 and beta2 in [0, 1) and eps >= 0, got {step}, {beta1}, {beta2} and {eps}"
        )


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor covers one block of memory without holes or overlap."""
    covered = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != covered:
            return False
        covered *= size
    return True

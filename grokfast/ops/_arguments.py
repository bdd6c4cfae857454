"""What every operation asks of its tensors before a kernel sees their addresses.

Shapes are each operation's own affair. Here is what all share: floating-point types, one device, indices in range, and
memory that is there. An error says what was expected and what came; a kernel is never given an address to guess about.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops._native import native

FLOATS = (torch.float32, torch.float64)
"""The types that kernels are built for."""


def check_floats(like: Tensor, **others: Tensor) -> None:
    """Raise unless ``like`` is float32 or float64, and every other tensor has its dtype and device."""
    if like.dtype not in FLOATS:
        raise InputError(f"expected tensors of float32 or float64, got {like.dtype}")
    check_same(like, others)


def check_same(like: Tensor, others: dict[str, Tensor]) -> None:
    """Raise unless every tensor has the dtype and device of ``like``."""
    dtype, device, on_cpu = like.dtype, None, like.is_cpu
    for name, tensor in others.items():
        if tensor.dtype is dtype and tensor.is_cpu and on_cpu:  # what is nearly always so, in nanoseconds
            continue
        device = like.device if device is None else device
        if tensor.dtype is not dtype or tensor.device != device:
            raise InputError(f"{name} must be {dtype} on {device}, got {tensor.dtype} on {tensor.device}")


def check_alike(like: Tensor, what: str, tensors: Sequence[Tensor]) -> None:
    """Raise unless each of many tensors has the dtype and device of ``like``; an error calls them ``what`` 0, 1, ..."""
    dtype = like.dtype
    if not (like.is_cpu and all(tensor.dtype is dtype and tensor.is_cpu for tensor in tensors)):
        check_same(like, {f"{what} {k}": tensor for k, tensor in enumerate(tensors)})


def check_device(like: Tensor, **others: Tensor) -> None:
    """Raise unless every tensor lies where ``like`` does."""
    for name, tensor in others.items():
        if not (tensor.is_cpu and like.is_cpu) and tensor.device != like.device:
            raise InputError(f"{name} must be on {like.device}, got {tensor.device}")


def check_range(name: str, indices: Tensor, size: int) -> None:
    """Raise unless every index lies in ``0 .. size - 1``; on a GPU the check runs there, without waiting for it."""
    if not indices.numel():
        return
    if not indices.is_cpu:
        torch._assert_async(((indices >= 0) & (indices < size)).all())
        return
    core = native()
    plain = indices.dtype is torch.int64 and indices.is_contiguous()
    if core is not None and plain and core.all_below(indices.data_ptr(), indices.numel(), size):
        return
    low, high = (int(end) for end in torch.aminmax(indices))
    if low < 0 or high >= size:
        raise InputError(f"{name} must lie in 0 .. {size - 1}, got {low} .. {high}")


def check_memory(tensors: Iterable[Tensor]) -> None:
    """Raise unless all memory that the tensors describe is there, and begins where a number may.

    A storage may have been resized, or a parameter's memory let go, since the tensor was made; torch itself does not
    look, and reads whatever lies there.
    """
    for tensor in tensors:
        room = tensor.untyped_storage().nbytes()
        # Contiguous and on a cache line, alone in its memory or one of many in a stack's: what is nearly always so.
        if (
            tensor.data_ptr() & 63
            or not tensor.is_contiguous()
            or room < tensor.storage_offset() * tensor.itemsize + tensor.nbytes
        ):
            _check_extent(tensor, room)


def _check_extent(tensor: Tensor, room: int) -> None:
    strides = tensor.stride()
    last = sum(map(operator.mul, tensor.shape, strides)) - sum(strides)
    needed = (tensor.storage_offset() + last + 1) * tensor.itemsize if tensor.numel() else 0
    if room < needed:
        raise InputError(
            f"a tensor of shape {list(tensor.shape)} needs {needed} bytes of memory, but its storage has {room}: "
            "it was resized or let go after the tensor was made"
        )
    if tensor.data_ptr() % tensor.itemsize:
        raise InputError(f"a tensor of {tensor.dtype} must start at a multiple of {tensor.itemsize} bytes")


def is_plain(tensors: Iterable[Tensor]) -> bool:
    """Whether tensors lie in the CPU's memory as they are, with nothing that torch's dispatcher would have to do."""
    return all(tensor.is_cpu and not tensor.is_neg() and tensor.layout is torch.strided for tensor in tensors)

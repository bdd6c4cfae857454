"""Stacks of members: parameters of many networks of one architecture, with members as the leading axis.

Everything in grokfast that takes ``Params`` follows this convention. Names and shapes are those of the module's
``state_dict`` with ``E`` in front. A matrix whose columns the forward pass gathers is stored input-major (the last two
axes swapped in memory), so that what it gathers is contiguous; shapes and values do not show it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.ops import advise_huge_pages

Params = dict[str, Tensor]

_ALIGNMENT = 64  # elements


def stack_members(members: Sequence[Mapping[str, Tensor]], input_major: Collection[str] = ()) -> Params:
    """Stack the parameters of ``E`` networks along a new leading axis.

    Args:
        members: One mapping a network, equal names and shapes.
        input_major: Names of matrices to store with their last two axes swapped.

    Returns:
        Parameters ``[E, ...]``.

    Raises:
        InputError: If there is no member, or names or shapes differ.
    """
    if not members:
        raise InputError("expected at least one member to stack, got none")
    names = list(members[0])
    stacked = {}
    for name in names:
        tensors = []
        for e, member in enumerate(members):
            if list(member) != names or member[name].shape != members[0][name].shape:
                raise InputError(
                    f"member {e} does not match member 0: expected parameters {names} and {name} "
                    f"{list(members[0][name].shape)}"
                )
            tensors.append(member[name])
        if name in input_major:
            stacked[name] = torch.stack([tensor.T for tensor in tensors]).transpose(1, 2)
        else:
            stacked[name] = torch.stack(tensors)
    return stacked


def zeros_together(params: Mapping[str, Tensor]) -> Params:
    """Zeros of the shapes and strides of ``params`` in one block of memory, on huge pages where the system has them.

    A training step walks through all of a stack's parameters, moments and gradients; with small pages, looking up
    their addresses costs a good part of its time.
    """
    first = next(iter(params.values()))
    starts, total = [], 0
    for tensor in params.values():
        starts.append(total)
        total += -(-tensor.numel() // _ALIGNMENT) * _ALIGNMENT
    block = first.new_empty(total)
    advise_huge_pages(block)
    block.zero_()
    return {
        name: block.as_strided(tensor.shape, tensor.stride(), start)
        for (name, tensor), start in zip(params.items(), starts, strict=True)
    }


def member(params: Mapping[str, Tensor], index: int) -> Params:
    """The parameters of one member as contiguous copies, ready for ``load_state_dict``."""
    return {
        name: tensor[index].detach().clone(memory_format=torch.contiguous_format) for name, tensor in params.items()
    }


def member_count(params: Mapping[str, Tensor]) -> int:
    """The number of members ``E``."""
    return next(iter(params.values())).shape[0]

"""Stacks of members: parameters of many networks of one architecture, with members as the leading axis.

Everything in grokfast that takes ``Params`` follows this convention. Names and shapes are those of the module's
``state_dict`` with ``E`` in front. Weight matrices are stored input-major (the last two axes swapped in memory),
which is what gathers of input rows and batched products with activations want; the shapes do not show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError

Params = dict[str, Tensor]


def stack_members(members: Sequence[Mapping[str, Tensor]]) -> Params:
    """Stack the parameters of ``E`` networks along a new leading axis.

    Args:
        members: One mapping a network, equal names and shapes.

    Returns:
        Parameters ``[E, ...]``; matrices are stored input-major.

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
        if tensors[0].dim() == 2:
            stacked[name] = torch.stack([tensor.T for tensor in tensors]).transpose(1, 2)
        else:
            stacked[name] = torch.stack(tensors)
    return stacked


def member(params: Mapping[str, Tensor], index: int) -> Params:
    """The parameters of one member as contiguous copies, ready for ``load_state_dict``."""
    return {
        name: tensor[index].detach().clone(memory_format=torch.contiguous_format) for name, tensor in params.items()
    }


def member_count(params: Mapping[str, Tensor]) -> int:
    """The number of members ``E``."""
    return next(iter(params.values())).shape[0]

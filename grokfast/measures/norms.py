"""Euclidean norms of stacked parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from grokfast._edge import check_members, edge, rows


@edge
def layer_norms(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Euclidean norm of every parameter tensor of every member.

    .. math:: \lVert W \rVert = \Bigl(\sum_i W_i^2\Bigr)^{1/2}

    Args:
        params: Stacked parameters ``[E, ...]``.

    Returns:
        ``[E]`` by name, float64, in the parameter's unit.

    Raises:
        InputError: If they are no stack.
    """
    check_members("params", params)
    return {name: rows(tensor.detach().double()).norm(dim=1) for name, tensor in params.items()}


@edge
def weight_norm(params: Mapping[str, Tensor]) -> Tensor:
    """Euclidean norm of all parameters of every member together.

    Args:
        params: Stacked parameters ``[E, ...]``.

    Returns:
        ``[E]``, float64.

    Raises:
        InputError: If they are no stack.
    """
    return torch.stack(list(layer_norms(params).values())).square().sum(0).sqrt()

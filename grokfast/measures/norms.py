"""Euclidean norms of stacked parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def layer_norms(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Euclidean norm of every parameter tensor of every member.

    .. math:: \lVert W \rVert = \Bigl(\sum_i W_i^2\Bigr)^{1/2}

    Args:
        params: Stacked parameters ``[E, ...]``.

    Returns:
        ``[E]`` by name, float64, in the parameter's unit.
    """
    return {name: tensor.detach().double().flatten(1).norm(dim=1) for name, tensor in params.items()}


def weight_norm(params: Mapping[str, Tensor]) -> Tensor:
    """Euclidean norm of all parameters of every member together.

    Args:
        params: Stacked parameters ``[E, ...]``.

    Returns:
        ``[E]``, float64.
    """
    return torch.stack(list(layer_norms(params).values())).square().sum(0).sqrt()

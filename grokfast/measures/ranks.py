"""Effective rank: how many directions a matrix, or a cloud of activations, really has."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast._edge import edge
from grokfast.errors import InputError


@edge
def effective_rank(matrix: Tensor) -> Tensor:
    r"""Effective rank of a matrix, the exponential of the entropy of its singular values.

    .. math:: \exp\Bigl( -\sum_k p_k \ln p_k \Bigr), \qquad p_k = \sigma_k / \textstyle\sum_j \sigma_j

    Args:
        matrix: ``[..., m, n]``, finite.

    Returns:
        ``[...]`` in [1, min(m, n)], float64; NaN for a matrix of zeros.

    Raises:
        InputError: If it is no matrix or a value is not finite.

    Source:
        O. Roy and M. Vetterli, The effective rank, EUSIPCO 2007.
    """
    if matrix.dim() < 2 or 0 in matrix.shape[-2:]:
        raise InputError(f"expected matrices [..., m, n], got {list(matrix.shape)}")
    if not matrix.isfinite().all():
        raise InputError("the effective rank is defined for finite matrices")
    return entropy_count(torch.linalg.svdvals(matrix.detach().double()))


@edge
def entropy_count(shares: Tensor) -> Tensor:
    r"""The number of equal shares that would have the same entropy, :math:`\exp H`, along the last axis.

    Args:
        shares: ``[..., n]``, at least 0; they are divided by their sum.

    Returns:
        ``[...]`` in [1, n], float64; NaN where all are zero.

    Raises:
        InputError: If there is none or one is negative.

    Source:
        M. O. Hill, Ecology 54, 427 (1973), number of order 1.
    """
    if shares.dim() == 0 or shares.shape[-1] == 0 or (shares < 0).any():
        raise InputError(f"expected shares [..., n] of at least 0, got {list(shares.shape)}")
    values = shares.detach().double()
    values = values / values.sum(-1, keepdim=True)
    count: Tensor = torch.special.entr(values).sum(-1).exp()
    return count


@edge
def activation_rank(activations: Tensor) -> Tensor:
    """Effective number of directions along which activations vary: ``exp H`` of their principal variances.

    Args:
        activations: ``[..., N, d]``, N >= 2.

    Returns:
        ``[...]`` in [1, d], float64; NaN where they do not vary.

    Raises:
        InputError: As :func:`effective_rank`.

    Source:
        As :func:`effective_rank`, of the covariance's eigenvalues.
    """
    if activations.dim() < 2 or activations.shape[-2] < 2:
        raise InputError(f"expected activations [..., N, d] of N >= 2 samples, got {list(activations.shape)}")
    if not activations.isfinite().all():
        raise InputError("the effective rank is defined for finite activations")
    values = activations.detach().double()
    values = values - values.mean(-2, keepdim=True)
    return entropy_count(torch.linalg.svdvals(values).square())

"""Gini coefficient: how unequally a quantity is shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grokfast._edge import check_members, computable, edge, rows
from grokfast.errors import InputError


@edge
def gini(values: Tensor) -> Tensor:
    r"""Gini coefficient along the last axis.

    .. math:: G = \frac{\sum_{i=1}^n (2 i - n - 1)\, x_{(i)}}{n \sum_i x_i}

    with :math:`x_{(1)} \le \dots \le x_{(n)}`: 0 where all are equal, 1 - 1/n where one has everything.

    Args:
        values: ``[..., n]``, at least 0 and finite.

    Returns:
        ``[...]`` in [0, 1 - 1/n], float64, dimensionless; NaN where all values are zero.

    Raises:
        InputError: If a value is negative or not finite, or there is none.

    Source:
        arXiv 2502.01739, fig. 15; C. Gini, 1912.
    """
    if values.dim() == 0 or values.shape[-1] == 0:
        raise InputError(f"expected values [..., n] with n >= 1, got {list(values.shape)}")
    if not (values.isfinite() & (values >= 0)).all():
        raise InputError("the Gini coefficient is defined for finite values of at least 0; take magnitudes first")
    ranked = values.detach().double().sort(dim=-1).values
    if not ranked.sum(-1).isfinite().all():  # shares of a sum that is too large for a double
        ranked = ranked * 2.0**-100
    n = values.shape[-1]
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64, device=values.device) - n - 1
    # Both sums by products of one kind: equal values then give exactly 0.
    return (ranked * weights).sum(-1) / (n * ranked.sum(-1))


@edge
def gini_of(tensors: Mapping[str, Tensor], names: Sequence[str] | None = None) -> Tensor:
    """Gini coefficient of the magnitudes of stacked tensors, all entries taken together.

    Args:
        tensors: ``[E, ...]`` by name: parameters, or a Fisher diagonal.
        names: Which of them; all by default.

    Returns:
        ``[E]``, float64.

    Raises:
        InputError: If names are unknown or none, or an entry is not finite.
    """
    chosen = list(tensors) if names is None else list(names)
    unknown = [name for name in chosen if name not in tensors]
    if unknown or not chosen:
        raise InputError(f"expected names among {list(tensors)}, got {chosen}")
    check_members("tensors", {name: tensors[name] for name in chosen})
    return gini(torch.cat([rows(computable(tensors[name].detach())) for name in chosen], 1).abs())

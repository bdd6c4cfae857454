"""Layerwise magnitude pruning of a stack, by exact ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.models import Params, member_count

_MEMBERS_AT_ONCE = 16

Accuracy = Callable[[Params], Tensor]
"""Accuracy ``[K]`` of ``K`` networks ``[K, ...]``, all of which stand for the member in hand."""


def pruned_count(fraction: float, size: int) -> int:
    r"""Number of weights removed at a fraction: :math:`\lfloor p\,n \rfloor`.

    A product within rounding of a whole number counts as that number: 29 of 100 at p = 0.29, although
    ``0.29 * 100`` is 28.999... in floating point.
    """
    return int(fraction * size * (1 + 1e-12) + 1e-12)


def magnitude_ranks(weight: Tensor) -> Tensor:
    """Rank of every weight of each member by magnitude, 0 the smallest; ties go by index in row-major order.

    Args:
        weight: ``[E, ...]``.

    Returns:
        int64, the shape of ``weight``.
    """
    flat = weight.detach().abs().reshape(weight.shape[0], -1)
    order = torch.argsort(flat, dim=1, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(flat.shape[1], device=flat.device).expand_as(order))
    return ranks.reshape(weight.shape)


def prune_layerwise(params: Mapping[str, Tensor], fraction: float, names: Sequence[str] | None = None) -> Params:
    r"""Zero the :math:`\lfloor p\,n \rfloor` smallest weights of each weight matrix or kernel by itself.

    Args:
        params: Stacked parameters ``[E, ...]``.
        fraction: p in [0, 1].
        names: Which parameters to prune; by default those whose name ends in ``weight``. Biases stay.

    Returns:
        New parameters; those not pruned are shared.

    Raises:
        InputError: If the fraction lies outside [0, 1].

    Source:
        arXiv 2502.01739, sec. on compressibility (layerwise scheme).
    """
    return _pruned(params, _ranks(params, names), [fraction], None)


def pruning_curve(
    params: Mapping[str, Tensor],
    accuracy: Sequence[Accuracy],
    fractions: Tensor,
    names: Sequence[str] | None = None,
) -> Tensor:
    """Accuracy of every member at every pruned fraction.

    Args:
        params: Stacked parameters ``[E, ...]``.
        accuracy: For each member, the accuracy of a stack of variants of it on its own test data.
        fractions: ``[F]`` in [0, 1].
        names: Which parameters to prune; by default those whose name ends in ``weight``.

    Returns:
        Accuracies ``[E, F]``, float64.
    """
    if len(accuracy) != member_count(params):
        raise InputError(f"expected one accuracy function per member, {member_count(params)}, got {len(accuracy)}")
    ranks = _ranks(params, names)
    shares = [float(fraction) for fraction in fractions]
    rows = []
    for e, evaluate in enumerate(accuracy):
        parts = [
            evaluate(_pruned(params, ranks, shares[k : k + _MEMBERS_AT_ONCE], e))
            for k in range(0, len(shares), _MEMBERS_AT_ONCE)
        ]
        rows.append(torch.cat(parts).to(torch.float64))
    return torch.stack(rows)


def _ranks(params: Mapping[str, Tensor], names: Sequence[str] | None) -> Params:
    chosen = [name for name in params if name.endswith("weight")] if names is None else list(names)
    unknown = [name for name in chosen if name not in params]
    if unknown or not chosen:
        raise InputError(f"expected names of parameters to prune among {list(params)}, got {chosen}")
    # Ranks take the storage order of their weights, so that what is pruned by them keeps it too.
    return {
        name: torch.empty_like(params[name], dtype=torch.int64).copy_(magnitude_ranks(params[name])) for name in chosen
    }


def _pruned(params: Mapping[str, Tensor], ranks: Params, fractions: Sequence[float], index: int | None) -> Params:
    """All members at one fraction (``index`` None), or one member at several fractions as a stack."""
    for fraction in fractions:
        if not 0 <= fraction <= 1:
            raise InputError(f"pruned fractions must lie in [0, 1], got {fraction}")
    members = slice(None) if index is None else slice(index, index + 1)
    pruned = {}
    for name, tensor in params.items():
        chosen = tensor[members].detach()
        if name not in ranks:
            pruned[name] = chosen if index is None else chosen.expand(len(fractions), *chosen.shape[1:])
            continue
        size = tensor[0].numel()
        counts = torch.tensor([pruned_count(fraction, size) for fraction in fractions], device=tensor.device)
        keep = ranks[name][members] >= counts.view(-1, *[1] * (tensor.dim() - 1))
        pruned[name] = torch.where(keep, chosen, chosen.new_zeros(()))
    return pruned

"""Pruning curves: networks evaluated at every pruned fraction, in stacks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from grokfast._checks import check_fraction
from grokfast.errors import InputError
from grokfast.models import Params, member_count
from grokfast.pruning.order import PruningOrder

_ELEMENTS_AT_ONCE = 1_500_000  # of a stack of variants: some megabytes, which memory is reused for
_VARIANTS_AT_ONCE = 64

Evaluate = Callable[[Params], tuple[Tensor, ...]]
"""Quantities ``[K]`` (accuracy, loss) of ``K`` networks ``[K, ...]``, all of which stand for the member in hand."""


def pruning_curves(
    params: Mapping[str, Tensor], evaluate: Sequence[Evaluate], fractions: Tensor, order: PruningOrder
) -> tuple[Tensor, ...]:
    """Whatever is evaluated, of every member at every pruned fraction.

    Args:
        params: Stacked parameters ``[E, ...]``.
        evaluate: For each member, quantities of a stack of variants of it on its own test data.
        fractions: ``[F]`` in [0, 1].
        order: What goes first.

    Returns:
        One ``[E, F]`` tensor a quantity, float64.

    Raises:
        InputError: If a fraction lies outside [0, 1], or there is not one evaluation a member.
    """
    if len(evaluate) != member_count(params):
        raise InputError(f"expected one accuracy function per member, {member_count(params)}, got {len(evaluate)}")
    shares = [float(fraction) for fraction in fractions]
    for share in shares:
        check_fraction("pruned fraction", share, closed=True)
    size = sum(tensor[0].numel() for tensor in params.values())
    at_once = max(1, min(_VARIANTS_AT_ONCE, _ELEMENTS_AT_ONCE // max(1, size)))
    rows: list[list[Tensor]] = []
    for e, one in enumerate(evaluate):
        parts = [one(order.variants(params, e, shares[k : k + at_once])) for k in range(0, len(shares), at_once)]
        rows.append([torch.cat(quantity).to(torch.float64) for quantity in zip(*parts, strict=True)])
    return tuple(torch.stack(quantity) for quantity in zip(*rows, strict=True))

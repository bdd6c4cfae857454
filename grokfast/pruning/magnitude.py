"""Layerwise magnitude pruning of a stack, the paper's main scheme, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from grokfast.models import Params
from grokfast.pruning.curves import pruning_curves
from grokfast.pruning.order import pruning_order, ranks_of

Accuracy = Callable[[Params], Tensor]
"""Accuracy ``[K]`` of ``K`` networks ``[K, ...]``, all of which stand for the member in hand."""


def magnitude_ranks(weight: Tensor) -> Tensor:
    """Rank of every weight of each member by magnitude, 0 the smallest; ties go by index in row-major order.

    Args:
        weight: ``[E, ...]``.

    Returns:
        int64, the shape of ``weight``.
    """
    return ranks_of(weight.detach().abs().reshape(weight.shape[0], -1)).reshape(weight.shape)


def prune_layerwise(params: Mapping[str, Tensor], fraction: float, names: Sequence[str] | None = None) -> Params:
    r"""Zero the :math:`\lfloor p\,n \rfloor` smallest weights of each weight matrix or kernel by itself.

    Args:
        params: Stacked parameters ``[E, ...]``.
        fraction: p in [0, 1].
        names: Which parameters to prune; by default the weight matrices and kernels. Biases stay.

    Returns:
        New parameters; those not pruned are shared.

    Raises:
        InputError: If the fraction lies outside [0, 1].

    Source:
        arXiv 2502.01739, sec. on compressibility (layerwise scheme).
    """
    return pruning_order(params, names=names).prune(params, fraction)


def pruning_curve(
    params: Mapping[str, Tensor],
    accuracy: Sequence[Accuracy],
    fractions: Tensor,
    names: Sequence[str] | None = None,
) -> Tensor:
    """Accuracy of every member at every fraction of layerwise magnitude pruning.

    Args:
        params: Stacked parameters ``[E, ...]``.
        accuracy: For each member, the accuracy of a stack of variants of it on its own test data.
        fractions: ``[F]`` in [0, 1].
        names: Which parameters to prune; by default the weight matrices and kernels.

    Returns:
        Accuracies ``[E, F]``, float64.
    """

    def alone(evaluate: Accuracy) -> Callable[[Params], tuple[Tensor]]:
        return lambda variants: (evaluate(variants),)

    (curves,) = pruning_curves(params, [alone(one) for one in accuracy], fractions, pruning_order(params, names=names))
    return curves

"""The ways to choose which parameters go first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from torch import Tensor


class Scheme(StrEnum):
    """What a parameter is scored by, and among which others it is ranked; the smallest scores go first.

    One layer at a time is any of them with ``names`` of that layer alone (see :func:`layers_of`).
    """

    LAYERWISE = "layerwise"
    """|w|, ranked inside each layer; arXiv 2502.01739, main text and fig. 25."""
    GLOBAL = "global"
    """|w|, ranked over all layers together; arXiv 2502.01739, fig. 25."""
    GLOBAL_BY_NORM = "global-by-norm"
    """|w| / ‖W‖ with the Euclidean norm of its own weight tensor, over all layers; arXiv 2502.01739, fig. 25."""
    FISHER_GLOBAL = "fisher-global"
    """Fisher diagonal, over all layers; arXiv 2502.01739, fig. 21."""
    FISHER_LAYERWISE = "fisher-layerwise"
    """Fisher diagonal, inside each layer; arXiv 2502.01739, figs. 22 to 24."""
    TAYLOR_GLOBAL = "taylor-global"
    """|w g| with the gradient g of the loss, over all layers: its first-order change; Molchanov et al., CVPR 2019."""
    TAYLOR_LAYERWISE = "taylor-layerwise"
    """|w g|, inside each layer."""
    RANDOM = "random"
    """Uniform random numbers, inside each layer: the control."""

    @property
    def uses_fisher(self) -> bool:
        """Whether the score is a Fisher diagonal."""
        return self in (Scheme.FISHER_GLOBAL, Scheme.FISHER_LAYERWISE)

    @property
    def uses_gradients(self) -> bool:
        """Whether the score needs gradients of a loss."""
        return self in (Scheme.TAYLOR_GLOBAL, Scheme.TAYLOR_LAYERWISE)

    @property
    def is_global(self) -> bool:
        """Whether all layers are ranked together."""
        return self in (Scheme.GLOBAL, Scheme.GLOBAL_BY_NORM, Scheme.FISHER_GLOBAL, Scheme.TAYLOR_GLOBAL)


def weight_names(params: Mapping[str, Tensor], stacked: bool = True) -> list[str]:
    """Weight matrices and kernels: parameters called weight with at least two dimensions.

    Args:
        params: Parameters by name.
        stacked: Whether they have a leading axis of members.
    """
    least = 3 if stacked else 2
    return [name for name, tensor in params.items() if "weight" in name.rsplit(".", 1)[-1] and tensor.dim() >= least]


def layers_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Parameter names by layer, the part before the last dot: ``{"0": ["0.weight", "0.bias"], ...}``."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    return layers

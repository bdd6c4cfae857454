"""The ways to choose which parameters go first."""

from __future__ import annotations

import re
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
    """Weight matrices, kernels and embeddings: parameters with at least two dimensions that are not called biases.

    Where there are none, all parameters.
    A bias is called so where the last part of its name has the word ``bias``, or ``b`` for ``W``, as in ``b_Q``.

    Args:
        params: Parameters by name.
        stacked: Whether they have a leading axis of members.
    """
    least = 3 if stacked else 2
    found = [name for name, tensor in params.items() if tensor.dim() >= least and not _BIAS.search(name)]
    return found or list(params)


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to: its name without the word ``weight`` or ``bias``."""
    return _WEIGHT_OR_BIAS.sub("", name).strip("._")


def layers_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Parameter names by layer: ``{"0": ["0.weight", "0.bias"], "W_E": ["W_E"], ...}``.

    What is called ``weight`` and ``bias`` belongs to one layer, named by the rest of the name (``in_proj`` of
    ``in_proj_weight`` and ``in_proj_bias``); every other parameter is a layer of its own.
    """
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(layer_of(name), []).append(name)
    return layers


_BIAS = re.compile(r"(^|[._])(bias|b)(?=$|_[^.]*$|\d*$)")
_WEIGHT_OR_BIAS = re.compile(r"(?:^|[._])(?:weight|bias)(?=$|_[^.]*$)")

r"""The tempered posterior around w*, as an energy of flat displacements.

.. math::

    U(w) = n\beta \Bigl[L_n(w) + \frac{\lambda}{2} |w|^2\Bigr] + \sum_l \frac{\gamma_l}{2} |w_l - w^*_l|^2
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grokfast._checks import check_non_negative, check_positive
from grokfast.errors import InputError
from grokfast.learning_coefficient.density import Density
from grokfast.learning_coefficient.locality import spread
from grokfast.models import Params, zeros_together


class Posterior:
    """Energy and gradient of a stack of chains, each at its own displacement from w*.

    Args:
        density: The data term.
        center: The parameters w*, without a leading axis.
        nbeta: Number of samples times inverse temperature.
        weight_decay: Of the training, lambda in the energy.
        gamma: Strength of the pull towards w* by tensor.

    Raises:
        InputError: If ``nbeta`` is not positive, or the decay is negative.
    """

    def __init__(
        self, density: Density, center: Params, nbeta: float, weight_decay: float, gamma: dict[str, float]
    ) -> None:
        check_positive("nbeta", nbeta)
        check_non_negative("weight_decay", weight_decay)
        self.density, self.nbeta, self.weight_decay = density, float(nbeta), float(weight_decay)
        self.names = list(center)
        self.shapes = {name: tensor.shape for name, tensor in center.items()}
        self.center = flat(center)
        self.gamma = spread(center, gamma)
        self._gamma = self.gamma.to(self.center.dtype)
        self._params: Params = {}
        self._gradients: Params = {}

    @property
    def size(self) -> int:
        """Number of parameters d."""
        return self.center.numel()

    def energy(self, displacement: Tensor, batch: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The data term, the energy and its gradient.

        Args:
            displacement: ``[C, d]``, w - w* of each chain.
            batch: Samples of each chain ``[C, m]`` instead of all.

        Returns:
            ``L_n`` ``[C]`` and ``U`` ``[C]`` in float64, and the gradient of U, ``[C, d]``.
        """
        where = self.center + displacement
        params = self._at(where)
        loss = self.density.gradient(params, self._gradients, batch)
        slope = torch.cat([self._gradients[name].reshape(len(where), -1) for name in self.names], dim=1)
        decay = where.double().square().sum(1) * (0.5 * self.weight_decay)
        pull = (displacement.double().square() * self.gamma).sum(1) * 0.5
        slope = (slope + self.weight_decay * where).mul_(self.nbeta).add_(displacement * self._gamma)
        return loss, self.nbeta * (loss + decay) + pull, slope

    def loss(self, displacement: Tensor) -> Tensor:
        """The data term ``[C]``, float64, on all samples."""
        return self.density.loss(self._at(self.center + displacement))

    def _at(self, where: Tensor) -> Params:
        chains = len(where)
        if not self._params or next(iter(self._params.values())).shape[0] != chains:
            like = {name: where.new_empty((chains, *shape)) for name, shape in self.shapes.items()}
            self._params, self._gradients = zeros_together(like), zeros_together(like)
        first = 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            self._params[name].copy_(where[:, first : first + size].view(chains, *shape))
            first += size
        return self._params


def flat(params: Params) -> Tensor:
    """All parameters as one vector ``[d]``, in their order."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in params.values()])


def unflat(vector: Tensor, like: Params) -> Params:
    """The vector cut into tensors of the names and shapes of ``like``."""
    parts = torch.split(vector, [tensor.numel() for tensor in like.values()])
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(like.items(), parts, strict=True)}


def default_nbeta(samples: int) -> float:
    r""":math:`n\beta = n / \ln n`, the temperature of the widely applicable Bayesian information criterion.

    Source:
        Watanabe 2013, JMLR 14, 867.
    """
    if samples < 2:
        raise InputError(f"the data must be two samples or more, got {samples}")
    return samples / math.log(samples)

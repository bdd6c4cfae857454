r"""The tempered posterior around w*, as an energy of flat displacements.

.. math::

    U(w) = n\beta \Bigl[L_n(w) + \frac{\lambda}{2} |w|^2\Bigr] + \sum_l \frac{\gamma_l}{2} |w_l - w^*_l|^2
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast._checks import check_non_negative, check_positive
from grokfast._edge import rows
from grokfast.errors import InputError
from grokfast.learning_coefficient.density import Density
from grokfast.models import Params, zeros_together

_SHORT = 1024  # numbers of a row up to which one call sums all rows, to the same bits: a call a row costs most there


class Posterior:
    """Energy and gradient of chains around each network of a stack, every chain at its own displacement from w*.

    Rows are networks times chains, one network's chains after the other's.

    Args:
        density: The data term of E networks.
        center: The parameters w*, ``[E, ...]``.
        nbeta: Number of samples times inverse temperature.
        weight_decay: Of the training, lambda in the energy, ``[E]``.
        gamma: Strength of the pull towards w*, ``[E, d]``, float64.

    Raises:
        InputError: If ``nbeta`` is not positive, or a decay is negative.
    """

    def __init__(self, density: Density, center: Params, nbeta: float, weight_decay: Tensor, gamma: Tensor) -> None:
        check_positive("nbeta", nbeta)
        for value in weight_decay.tolist():
            check_non_negative("weight_decay", value)
        self.density, self.nbeta, self.weight_decay = density, float(nbeta), weight_decay.double()
        self.center, self.gamma = flat(center), gamma
        self._like = {name: tensor[0] for name, tensor in density.center.items()}
        self._gamma = gamma.to(self.center.dtype)
        self._decay = self.weight_decay.to(self.center.dtype)[:, None, None]
        self._params: Params = {}
        self._gradients: Params = {}

    @property
    def size(self) -> int:
        """Number of parameters d."""
        return self.center.shape[1]

    @property
    def nets(self) -> int:
        """Number of networks E."""
        return len(self.center)

    def only(self, nets: Sequence[int]) -> Posterior:
        """That of some of the networks."""
        chosen = list(nets)
        center = {name: self.center[chosen, part].view(len(chosen), *like.shape) for name, part, like in self._parts()}
        return Posterior(self.density.only(chosen), center, self.nbeta, self.weight_decay[chosen], self.gamma[chosen])

    def energy(self, displacement: Tensor, batch: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The data term, the energy and its gradient.

        Args:
            displacement: ``[R, d]``, w - w* of each chain of each network.
            batch: Samples of each row ``[R, m]`` instead of all.

        Returns:
            ``L_n`` ``[R]`` and ``U`` ``[R]`` in float64, and the gradient of U, ``[R, d]``.
        """
        away = displacement.view(self.nets, -1, self.size)
        where = away + self.center[:, None]
        loss = self.density.gradient(self._at(where), self._gradients, batch)
        slope = torch.empty_like(displacement)
        for name, part, _ in self._parts():
            gradient = self._gradients[name]
            slope[:, part].view(gradient.shape).copy_(gradient)
        decay = squared_norms(where.flatten(0, 1)).view(self.nets, -1) * (0.5 * self.weight_decay[:, None])
        # In the memory of one tensor: a fresh one of this size costs more than what is done with it.
        slope.view_as(where).add_(where.mul_(self._decay)).mul_(self.nbeta)
        force = torch.mul(away, self._gamma[:, None], out=where)
        slope.view_as(where).add_(force)
        pull = 0.5 * row_sums(force.mul_(away).flatten(0, 1))
        return loss, self.nbeta * (loss + decay.flatten()) + pull, slope

    def pull(self, displacement: Tensor) -> Tensor:
        """The pull's part of the energy ``[R]``, float64."""
        away = displacement.view(self.nets, -1, self.size)
        return 0.5 * row_sums((away * self._gamma[:, None]).mul_(away).flatten(0, 1))

    def loss(self, displacement: Tensor) -> Tensor:
        """The data term ``[R]``, float64, on all samples."""
        return self.density.loss(self._at(displacement.view(self.nets, -1, self.size) + self.center[:, None]))

    def _at(self, where: Tensor) -> Params:
        """The parameters ``[E, C, d]`` as tensors ``[R, ...]`` in the memory order of the network's own."""
        rows = where.flatten(0, 1)
        if not self._params or next(iter(self._params.values())).shape[0] != len(rows):
            like = {
                name: torch.empty_strided(
                    (len(rows), *own.shape), (own.numel(), *own.stride()), dtype=rows.dtype, device=rows.device
                )
                for name, own in self._like.items()
            }
            self._params, self._gradients = zeros_together(like), zeros_together(like)
        for name, part, own in self._parts():
            self._params[name].copy_(rows[:, part].view(len(rows), *own.shape))
        return self._params

    def _parts(self) -> list[tuple[str, slice, Tensor]]:
        """Where each tensor lies in a row."""
        found, first = [], 0
        for name, own in self._like.items():
            found.append((name, slice(first, first + own.numel()), own))
            first += own.numel()
        return found


def row_sums(values: Tensor) -> Tensor:
    """Sums of rows ``[R, d]`` in float64, each by itself: its bits do not depend on how many there are."""
    if values.shape[1] <= _SHORT:
        return values.sum(1, dtype=torch.float64)
    return torch.stack([row.sum(dtype=torch.float64) for row in values])


def squared_norms(values: Tensor) -> Tensor:
    """Sums of the squares of rows ``[R, d]``, in float64, each by itself."""
    if values.shape[1] <= _SHORT:
        norms: Tensor = torch.linalg.vector_norm(values, dim=1, dtype=torch.float64)
        return norms.square()
    return torch.stack([torch.linalg.vector_norm(row, dtype=torch.float64) for row in values]).square()


def flat(params: Params) -> Tensor:
    """All parameters of each network of a stack as one vector, ``[E, d]``, in their order."""
    return torch.cat([rows(tensor.detach()) for tensor in params.values()], 1)


def unflat(vectors: Tensor, like: Params) -> Params:
    """Vectors ``[E, d]`` cut into tensors ``[E, ...]`` of the names and shapes of the stack ``like``."""
    parts = torch.split(vectors, [tensor[0].numel() for tensor in like.values()], dim=1)
    return {
        name: part.reshape(len(vectors), *tensor.shape[1:])
        for (name, tensor), part in zip(like.items(), parts, strict=True)
    }


def default_nbeta(samples: int) -> float:
    r""":math:`n\beta = n / \ln n`, the temperature of the widely applicable Bayesian information criterion.

    Source:
        Watanabe 2013, JMLR 14, 867.
    """
    if samples < 2:
        raise InputError(f"the data must be two samples or more, got {samples}")
    return samples / math.log(samples)

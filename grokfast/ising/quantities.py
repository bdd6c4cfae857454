"""What a snapshot's spins say about it: energy and magnetisation as functions of tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def energy(spins: Tensor) -> Tensor:
    r"""Energy per site with periodic edges, in units of J.

    .. math:: E / N = -\frac1N \sum_{\langle ij \rangle} \sigma_i \sigma_j

    Args:
        spins: ``[..., Ly, Lx]`` of ±1, any dtype.

    Returns:
        float64 ``[...]`` in [-2, 2].

    Source:
        arXiv 2502.01739, eqs. 1 and 11.
    """
    s = spins.to(torch.float32)  # sums of ±1 are exact in it
    bonds = s * (s.roll(1, -1) + s.roll(1, -2))
    return -bonds.sum((-1, -2)).double() / (spins.shape[-1] * spins.shape[-2])


def magnetization(spins: Tensor) -> Tensor:
    """Magnetisation per site, float64 ``[...]`` in [-1, 1], of spins ``[..., Ly, Lx]`` (eq. 2)."""
    return spins.to(torch.float32).sum((-1, -2)).double() / (spins.shape[-1] * spins.shape[-2])


def abs_magnetization(spins: Tensor) -> Tensor:
    """Absolute magnetisation per site, float64 ``[...]`` in [0, 1], of spins ``[..., Ly, Lx]``."""
    return magnetization(spins).abs()


QUANTITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "energy": energy,
    "magnetization": magnetization,
    "abs_magnetization": abs_magnetization,
}
"""The features that arXiv 2502.01739 looks for, by name."""

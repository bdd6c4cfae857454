"""What is read off a pruning curve."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast._checks import check_fraction
from grokfast.errors import InputError


def _check(fractions: Tensor, accuracies: Tensor) -> None:
    if fractions.dim() != 1 or accuracies.shape[-1:] != fractions.shape or len(fractions) < 2:
        raise InputError(
            f"expected fractions [F] and accuracies [..., F] with F >= 2, "
            f"got {list(fractions.shape)} and {list(accuracies.shape)}"
        )
    if fractions[0] != 0 or fractions[-1] != 1 or not (fractions.diff() > 0).all():
        raise InputError(f"fractions must rise from 0 to 1, got {fractions[0]:g} .. {fractions[-1]:g}")
    if not ((accuracies >= 0) & (accuracies <= 1)).all():
        raise InputError("accuracies must lie in [0, 1]")


def pruning_fractions(steps: int = 100) -> Tensor:
    """The grid 0, 1/steps, ..., 1 in float64; the paper uses 101 points."""
    return torch.arange(steps + 1, dtype=torch.float64) / steps


def compressibility(fractions: Tensor, accuracies: Tensor) -> Tensor:
    r"""Compressibility of a pruning curve.

    .. math:: c = \frac{1}{1 - a}, \qquad a = \int_0^1 a(p)\,\mathrm{d}p \quad \text{(trapezoid rule)}

    Args:
        fractions: ``[F]``, rising from 0 to 1.
        accuracies: ``[..., F]`` in [0, 1].

    Returns:
        ``[...]``, dimensionless, at least 1; infinite where nothing is lost at any fraction.

    Raises:
        InputError: If fractions do not rise from 0 to 1, accuracies leave [0, 1], or shapes differ.

    Source:
        arXiv 2502.01739, eq. 5.
    """
    _check(fractions, accuracies)
    area = torch.trapezoid(accuracies.to(torch.float64), fractions.to(torch.float64), dim=-1)
    return 1 / (1 - area)


def size_at_drop(fractions: Tensor, accuracies: Tensor, drop: float = 0.05) -> Tensor:
    """Smallest share of weights left that still keeps ``1 - drop`` of the unpruned accuracy.

    Args:
        fractions: ``[F]``, rising from 0 to 1: the shares removed.
        accuracies: ``[..., F]`` in [0, 1].
        drop: The accepted relative loss, in (0, 1).

    Returns:
        ``[...]`` in [0, 1], to the resolution of the grid.

    Source:
        arXiv 2502.01739, "5 % of the weights at 95 %".
    """
    _check(fractions, accuracies)
    check_fraction("drop", drop)
    kept = accuracies >= (1 - drop) * accuracies[..., :1]
    largest = torch.where(kept, fractions.to(torch.float64), torch.zeros((), dtype=torch.float64)).amax(-1)
    return 1 - largest

"""What is read off a pruning curve."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast._checks import check_at_least, check_fraction
from grokfast._edge import edge
from grokfast.errors import InputError


def _check(fractions: Tensor, accuracies: Tensor) -> None:
    if fractions.dim() != 1 or accuracies.shape[-1:] != fractions.shape or len(fractions) < 2:
        raise InputError(
            f"expected fractions [F] and accuracies [..., F] with F >= 2, "
            f"got {list(fractions.shape)} and {list(accuracies.shape)}"
        )
    if fractions[0] != 0 or fractions[-1] != 1 or not (fractions.diff() > 0).all():
        raise InputError(f"fractions must rise from 0 to 1, got {fractions[0]:g} .. {fractions[-1]:g}")
    if not (((accuracies >= 0) & (accuracies <= 1)) | accuracies.isnan()).all():
        raise InputError("accuracies must lie in [0, 1], or be NaN where there is none")


@edge
def pruning_fractions(steps: int = 100) -> Tensor:
    """The grid 0, 1/steps, ..., 1 in float64, of at least one step; the paper uses 101 points."""
    check_at_least("steps", steps, 1)
    return torch.arange(steps + 1, dtype=torch.float64) / steps


@edge
def compressibility(fractions: Tensor, accuracies: Tensor) -> Tensor:
    r"""Compressibility of a pruning curve.

    .. math:: c = \frac{1}{1 - a}, \qquad a = \int_0^1 a(p)\,\mathrm{d}p \quad \text{(trapezoid rule)}

    Args:
        fractions: ``[F]``, rising from 0 to 1.
        accuracies: ``[..., F]`` in [0, 1].

    Returns:
        ``[...]``, dimensionless, at least 1; infinite where nothing is lost at any fraction; NaN for a curve with NaN.

    Raises:
        InputError: If fractions do not rise from 0 to 1, accuracies leave [0, 1], or shapes differ.

    Source:
        arXiv 2502.01739, eq. 5.
    """
    _check(fractions, accuracies)
    area = torch.trapezoid(accuracies.to(torch.float64), fractions.to(torch.float64), dim=-1)
    return 1 / (1 - area)


@edge
def compressibility_bounds(fractions: Tensor, accuracies: Tensor) -> tuple[Tensor, Tensor]:
    r"""Bounds on the compressibility of every curve through these points that is monotonic between neighbours.

    .. math:: \sum_k h_k \min(a_k, a_{k+1}) \le \int_0^1 a(p)\,\mathrm{d}p \le \sum_k h_k \max(a_k, a_{k+1})

    The half width in the area is :math:`\tfrac12 \sum_k h_k |a_{k+1} - a_k|`, about 0.005 on 101 points for a curve
    that falls from 1 to 0, and :math:`c^2` times as much in c: ±0.1 at c = 5, ±3 at c = 25.

    Args:
        fractions: ``[F]``, rising from 0 to 1.
        accuracies: ``[..., F]`` in [0, 1].

    Returns:
        Lower and upper bound ``[...]``.

    Raises:
        InputError: As :func:`compressibility`.
    """
    _check(fractions, accuracies)
    steps, values = fractions.to(torch.float64).diff(), accuracies.to(torch.float64)
    low = (torch.minimum(values[..., 1:], values[..., :-1]) * steps).sum(-1)
    high = (torch.maximum(values[..., 1:], values[..., :-1]) * steps).sum(-1)
    return 1 / (1 - low), 1 / (1 - high)


@edge
def compressibility_error(fractions: Tensor, accuracies: Tensor) -> Tensor:
    r"""Richardson's estimate of the grid's error: a third of the change when every second point is left out.

    .. math:: \delta c = \tfrac13\, |c_h - c_{2h}|

    Right to leading order for smooth curves, while :func:`compressibility_bounds` holds for all monotonic ones.

    Args:
        fractions: ``[F]``, F odd and at least 3, rising from 0 to 1 in equal steps.
        accuracies: ``[..., F]`` in [0, 1].

    Returns:
        ``[...]``, at least 0.

    Raises:
        InputError: As :func:`compressibility`, or if there is no grid of twice the step.
    """
    _check(fractions, accuracies)
    steps = fractions.to(torch.float64).diff()
    if len(fractions) % 2 == 0 or not torch.allclose(steps, steps[:1].expand_as(steps), rtol=1e-9):
        raise InputError(f"the error needs an odd number of equally spaced fractions, got {len(fractions)}")
    fine = compressibility(fractions, accuracies)
    return (fine - compressibility(fractions[::2], accuracies[..., ::2])).abs() / 3


@edge
def size_at_accuracy(fractions: Tensor, accuracies: Tensor, accuracy: float = 0.95) -> Tensor:
    """Smallest share of weights left with which the accuracy is still at least ``accuracy``.

    Args:
        fractions: ``[F]``, rising from 0 to 1: the shares removed.
        accuracies: ``[..., F]`` in [0, 1].
        accuracy: What is asked, in (0, 1].

    Returns:
        ``[...]`` in [0, 1], to the resolution of the grid; NaN where no fraction reaches it.

    Source:
        arXiv 2502.01739, "5 % of the weights at 95 %".
    """
    _check(fractions, accuracies)
    if accuracy == 0:
        raise InputError("accuracy must lie in (0, 1], got 0")
    check_fraction("accuracy", accuracy, closed=True)
    kept = accuracies >= accuracy
    largest = torch.where(kept, fractions.to(torch.float64), -1.0).amax(-1)
    return torch.where(kept.any(-1), 1 - largest, torch.nan)


@edge
def size_at_drop(fractions: Tensor, accuracies: Tensor, drop: float = 0.05) -> Tensor:
    """Smallest share of weights left that still keeps ``1 - drop`` of the unpruned accuracy.

    Args:
        fractions: ``[F]``, rising from 0 to 1: the shares removed.
        accuracies: ``[..., F]`` in [0, 1].
        drop: The accepted relative loss, in (0, 1).

    Returns:
        ``[...]`` in [0, 1], to the resolution of the grid; NaN where there is no unpruned accuracy.

    Source:
        arXiv 2502.01739, sec. on compressibility: size at a 5 % drop.
    """
    _check(fractions, accuracies)
    check_fraction("drop", drop)
    kept = accuracies >= (1 - drop) * accuracies[..., :1]
    largest = torch.where(kept, fractions.to(torch.float64), torch.zeros((), dtype=torch.float64)).amax(-1)
    return (1 - largest).masked_fill(accuracies[..., 0].isnan(), torch.nan)

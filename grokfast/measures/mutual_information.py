"""Mutual information of two numbers a sample, by nearest neighbours: discrete, continuous, or a mixture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grokfast._checks import check_at_least
from grokfast._edge import edge
from grokfast.errors import InputError

_BLOCK = 4_000_000  # distances held at once
_SLACK = 1e-12  # by which distances of standardised values are rounded


@edge
def mutual_information(x: Tensor, y: Tensor, neighbours: int = 3) -> Tensor:
    r"""Mutual information of variables that may be continuous, discrete, or mixtures of both.

    .. math:: \frac1N \sum_i \psi(\tilde k_i) + \ln N - \psi(n_{x,i}) - \psi(n_{y,i})

    With :math:`\rho_i` the distance (largest of the two coordinates') to the k-th nearest neighbour,
    :math:`n_{x,i}` counts the samples, itself included, nearer than that in x alone, and :math:`\tilde k_i = k`. Where
    further samples than k lie no further than :math:`\rho_i`, as discrete values do, all three count the samples,
    itself included, that lie no further. Both variables are divided by their standard deviation first.

    Args:
        x: ``[..., N]``.
        y: ``[..., N]``, or of a shape that broadcasts.
        neighbours: k, at least 1 and less than N.

    Returns:
        ``[...]`` in nats, float64; it may be slightly negative. 0 where a variable is constant.

    Raises:
        InputError: If shapes differ in N, a value is not finite or there are too few samples.

    Source:
        Gao, Kannan, Oh, Viswanath, NeurIPS 2017, arXiv 1709.06212, with ties counted at every distance as Mesner and
        Shalizi do, IEEE Trans. Inf. Theory 67, 464 (2021), arXiv 1912.03387; for continuous variables Kraskov,
        Stögbauer, Grassberger, PRE 69, 066138 (2004), first estimator.
    """
    x, y = _checked(x, y, neighbours)
    n = x.shape[-1]
    if not x.numel():
        return x.new_empty(x.shape[:-1])
    flat = [_standard(one).reshape(-1, n) for one in (x, y)]
    found = torch.empty(len(flat[0]), dtype=torch.float64, device=x.device)
    for e, (one, other) in enumerate(zip(*flat, strict=True)):
        radius, near = _neighbours(one, other, neighbours)
        tied = (radius == 0) | (near > neighbours + 1)
        counts = [torch.where(tied, _within(v, radius), _within(v, radius, open_ball=True)) for v in (one, other)]
        near = torch.where(tied, near, float(neighbours))
        terms = torch.digamma(near) - torch.digamma(counts[0]) - torch.digamma(counts[1])
        constant = (one == one[0]).all() or (other == other[0]).all()
        found[e] = 0 if constant else terms.mean() + math.log(n)
    return found.reshape(x.shape[:-1])


@edge
def mutual_information_with_classes(x: Tensor, labels: Tensor, neighbours: int = 3) -> Tensor:
    r"""Mutual information of a continuous and a discrete variable.

    .. math:: \psi(N) + \psi(k) - \langle \psi(N_{c(i)}) \rangle - \langle \psi(m_i) \rangle

    With :math:`N_c` samples of class c, and :math:`m_i` the samples of any class, itself left out, no further from
    sample i than the k-th nearest of its own class. Of classes with k samples or fewer k is taken smaller; classes
    with one sample are left out.

    Args:
        x: ``[..., N]``.
        labels: ``[..., N]``, integers or numbers that repeat, or of a shape that broadcasts.
        neighbours: k, at least 1.

    Returns:
        ``[...]`` in nats, float64. NaN where every class has one sample.

    Raises:
        InputError: As :func:`mutual_information`.

    Source:
        B. C. Ross, PLoS ONE 9, e87357 (2014).
    """
    x, labels = _checked(x, labels, 1)
    check_at_least("neighbours", neighbours, 1)
    n = x.shape[-1]
    values, classes = x.reshape(-1, n), labels.reshape(-1, n)
    found = [_ross(one, c, neighbours) for one, c in zip(values, classes, strict=True)]
    return torch.stack(found).reshape(x.shape[:-1])


@edge
def linear_information(r: Tensor) -> Tensor:
    r"""What mutual information would be for jointly normal variables, :math:`-\frac12 \ln(1 - r^2)`.

    Args:
        r: Pearson correlations ``[...]`` in [-1, 1].

    Returns:
        ``[...]`` in nats, float64; infinite for a perfect correlation.

    Raises:
        InputError: If a correlation lies outside [-1, 1]; NaN stays NaN.

    Source:
        Cover and Thomas, Elements of Information Theory, example 8.5.1.
    """
    r = r.double()
    if (r.abs() > 1 + 1e-6).any():
        raise InputError(f"correlations must lie in [-1, 1], got up to {float(r.abs().nan_to_num().max()):g}")
    return -0.5 * torch.log1p(-r.clamp(-1, 1).square())


def _checked(x: Tensor, y: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    check_at_least("neighbours", neighbours, 1)
    if x.dim() == 0 or y.dim() == 0 or x.shape[-1] != y.shape[-1] or x.shape[-1] <= neighbours:
        raise InputError(
            f"expected two variables [..., N] of the same N > {neighbours} samples, got {list(x.shape)} and "
            f"{list(y.shape)}"
        )
    try:
        x, y = torch.broadcast_tensors(x.detach().double(), y.detach().double())  # type: ignore[no-untyped-call]
    except RuntimeError:
        raise InputError(f"expected shapes that broadcast, got {list(x.shape)} and {list(y.shape)}") from None
    if not (x.isfinite().all() and y.isfinite().all()):
        raise InputError("mutual information is defined for finite samples")
    return x, y


def _standard(values: Tensor) -> Tensor:
    spread = values.std(-1, keepdim=True)
    return (values - values.mean(-1, keepdim=True)) / torch.where(spread > 0, spread, 1)


def _neighbours(x: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distance to the k-th neighbour in the plane, and how many lie no further, itself included: both ``[N]``."""
    radius, near = torch.empty_like(x), torch.empty_like(x)
    step = max(1, _BLOCK // len(x))
    for first in range(0, len(x), step):
        rows = slice(first, first + step)
        far = torch.maximum((x[rows, None] - x).abs(), (y[rows, None] - y).abs())
        radius[rows] = far.kthvalue(k + 1, dim=-1).values  # the sample itself is the first
        near[rows] = (far <= radius[rows, None] + _SLACK * (radius[rows, None] > 0)).sum(-1).double()
    return radius, near


def _within(values: Tensor, radius: Tensor, open_ball: bool = False) -> Tensor:
    """How many samples lie within a distance of each, itself included; strictly, for an open ball."""
    ranked = values.sort().values
    # A hair more or less than the distance: differences of doubles are rounded.
    slack = _SLACK * (1 + values.abs())
    reach = radius - slack if open_ball else radius + slack
    above = torch.searchsorted(ranked, values + reach, right=True)
    below = torch.searchsorted(ranked, values - reach, right=False)
    return (above - below).clamp_min(1).double()


def _ross(x: Tensor, classes: Tensor, neighbours: int) -> Tensor:
    kept, sizes, ks, radii = [], [], [], []
    for c in torch.unique(classes):
        mine = (classes == c).nonzero()[:, 0]
        if len(mine) < 2:
            continue
        k = min(neighbours, len(mine) - 1)
        far = (x[mine, None] - x[mine]).abs()
        radii.append(far.kthvalue(k + 1, dim=-1).values)
        kept.append(mine)
        sizes.append(torch.full((len(mine),), float(len(mine)), dtype=torch.float64))
        ks.append(torch.full((len(mine),), float(k), dtype=torch.float64))
    if not kept:
        return torch.tensor(torch.nan, dtype=torch.float64)
    chosen = torch.cat(kept)
    values = x[chosen]
    near = _within(values, torch.cat(radii)) - 1  # itself left out
    terms = [torch.digamma(torch.cat(ks)), -torch.digamma(torch.cat(sizes)), -torch.digamma(near.clamp_min(1))]
    total = torch.digamma(torch.tensor(float(len(values)), dtype=torch.float64))
    return total + sum(term.mean() for term in terms)

"""Correlations of neurons with quantities of their input: which feature each neuron has learnt.

All functions take tensors with any leading axes, such as the members of a stack.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast._edge import computable, edge
from grokfast.errors import InputError

_ROUNDING = 16.0
"""A neuron counts as constant if its values spread over no more than this many units of rounding."""


@edge
def neuron_correlations(activations: Tensor, quantities: Tensor) -> Tensor:
    r"""Pearson correlation of every neuron with every quantity over the samples.

    .. math:: r_{kq} = \frac{\sum_i (z_{ik} - \bar z_k)(x_{iq} - \bar x_q)}
              {\sqrt{\sum_i (z_{ik} - \bar z_k)^2 \sum_i (x_{iq} - \bar x_q)^2}}

    Args:
        activations: ``[..., N, K]``: samples and neurons; float32 or float64.
        quantities: ``[..., N, Q]``.

    Returns:
        float64 ``[..., K, Q]`` in [-1, 1]. NaN for a *constant* neuron, one whose values spread over no more than 16
        units of rounding of the largest, and for a constant quantity: neither has a correlation.

    Raises:
        InputError: If the samples do not match, or there are fewer than two.
    """
    if (
        min(activations.dim(), quantities.dim()) < 2
        or activations.shape[:-1] != quantities.shape[:-1]
        or activations.shape[-2] < 2
    ):
        raise InputError(
            f"expected activations [..., N, K] and quantities [..., N, Q] with N of at least 2, got "
            f"{list(activations.shape)} and {list(quantities.shape)}"
        )
    z, z_norm = _centred(activations)
    x, x_norm = _centred(quantities)
    return ((z.transpose(-1, -2) @ x) / z_norm[..., :, None] / x_norm[..., None, :]).clamp(-1, 1)


def _centred(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values less their mean over samples in float64, and their norms, NaN where they are constant."""
    values = computable(values)
    spread = values.amax(-2) - values.amin(-2)
    constant = spread <= _ROUNDING * torch.finfo(values.dtype).eps * values.abs().amax(-2)
    centred = values.double()
    centred = centred - centred.mean(-2, keepdim=True)
    return centred, centred.norm(dim=-2).masked_fill(constant, torch.nan)


@edge
def activation_weights(activations: Tensor) -> Tensor:
    r"""Share of each neuron in the layer's total activation, the weights of eq. 6.

    .. math:: w_k = \frac{\sum_i |z_{ik}|}{\sum_i \sum_j |z_{ij}|}

    Args:
        activations: ``[..., N, K]``.

    Returns:
        float64 ``[..., K]``, of sum 1; NaN for a layer without any activation.

    Source:
        arXiv 2502.01739, eq. 6.
    """
    if activations.dim() < 2:
        raise InputError(f"expected activations [..., N, K], got {list(activations.shape)}")
    totals = computable(activations).abs().sum(-2, dtype=torch.float64)
    return totals / totals.sum(-1, keepdim=True)


@edge
def weighted_correlation(r: Tensor, weights: Tensor, *, per_neuron: bool = False) -> Tensor:
    r"""The layer's mean \|r\| weighted by activation, with or without the paper's further factor 1/\|L\|.

    .. math:: \tilde r_q = \frac{1}{|L|} \sum_k w_k |r_{kq}|

    The paper keeps both the weights, whose sum is 1, and the factor: for 100 neurons its r̃ is at most 0.01.
    Constant neurons have no correlation: they are left out, the weights of the others are made to sum to 1.

    Args:
        r: ``[..., K, Q]`` with NaN for constant neurons.
        weights: ``[..., K]`` from :func:`activation_weights`.
        per_neuron: Whether to divide by the number of neurons K, as eq. 6 does.

    Returns:
        ``[..., Q]``; NaN if all neurons are constant.

    Source:
        arXiv 2502.01739, eq. 6.
    """
    _check_table(r, weights)
    r = computable(r)
    live = ~r.isnan()
    shares = torch.where(live, weights[..., None], 0.0)
    mean = (shares * r.abs().nan_to_num()).sum(-2) / shares.sum(-2)
    return mean / r.shape[-2] if per_neuron else mean


@edge
def mean_correlation(r: Tensor) -> Tensor:
    """Plain mean of |r| over the neurons that are not constant: ``[..., K, Q]`` to ``[..., Q]``, NaN if all are."""
    _check_table(r)
    return computable(r).abs().nanmean(-2)


@edge
def constant_neurons(r: Tensor) -> Tensor:
    """Number of neurons without any correlation: ``[..., K, Q]`` to int64 ``[...]``."""
    _check_table(r)
    return r.isnan().all(-1).sum(-1)


@edge
def leading_quantity(r: Tensor) -> Tensor:
    """Index of the quantity with the largest |r| of each neuron, of equal ones the first; -1 for constant neurons.

    Args:
        r: ``[..., K, Q]`` with NaN for constant neurons.

    Returns:
        int64 ``[..., K]``.
    """
    _check_table(r)
    r = computable(r)
    return torch.where(r.isnan().all(-1), -1, r.abs().nan_to_num(nan=-1.0).argmax(-1))


@edge
def led_shares(r: Tensor, weights: Tensor | None = None) -> Tensor:
    """Share of the neurons led by each quantity, or of the activation that those neurons carry.

    Args:
        r: ``[..., K, Q]`` with NaN for constant neurons, which are left out.
        weights: ``[..., K]`` from :func:`activation_weights`; None counts neurons.

    Returns:
        ``[..., Q]`` of sum 1; NaN if all neurons are constant or the others carry nothing.

    Source:
        arXiv 2502.01739, figs. 28 to 30.
    """
    _check_table(r, weights)
    leaders = leading_quantity(r)
    led = leaders[..., None] == torch.arange(r.shape[-1], device=r.device)
    each = led.double() if weights is None else torch.where(led, weights[..., None].double(), 0.0)
    totals = each.sum(-2)
    return totals / totals.sum(-1, keepdim=True)


def _check_table(r: Tensor, weights: Tensor | None = None) -> None:
    if r.dim() < 2 or 0 in r.shape[-2:]:
        raise InputError(f"expected correlations [..., K, Q] of at least one neuron and quantity, got {list(r.shape)}")
    if weights is not None and weights.shape != r.shape[:-1]:
        raise InputError(f"weights must be {list(r.shape[:-1])}, one for each neuron, got {list(weights.shape)}")

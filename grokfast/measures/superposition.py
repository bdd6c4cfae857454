"""Superposition: whether features share the neurons' space, and how many each neuron carries."""

from __future__ import annotations

import torch
from torch import Tensor

from grokfast._edge import edge
from grokfast.errors import InputError
from grokfast.measures.ipr import fourier_power
from grokfast.measures.ranks import entropy_count

_ROUNDING = 1e-9


@edge
def feature_dimensionality(directions: Tensor) -> Tensor:
    r"""How much of a dimension each feature has to itself.

    .. math:: D_\nu = \frac{|W_\nu|^2}{\sum_\mu (\hat W_\nu \cdot W_\mu)^2}

    1 for features at right angles, 1/2 for antipodal pairs, 2/5 for a pentagon.

    Args:
        directions: ``[..., F, N]``: a row for each feature, in the space of N neurons.

    Returns:
        ``[..., F]`` in [0, 1], float64; NaN for a feature without weights.

    Raises:
        InputError: If it is no matrix or a value is not finite.

    Source:
        Elhage et al., Toy models of superposition, arXiv 2209.10652, section "The geometry of superposition".
    """
    values = _checked(directions)
    square = values.square().sum(-1)
    return square.square() / (values @ values.mT).square().sum(-1)


@edge
def interference(directions: Tensor) -> Tensor:
    r"""Mean squared cosine between directions of different features; 1/N on average for random ones.

    Args:
        directions: ``[..., F, N]``, F >= 2.

    Returns:
        ``[...]`` in [0, 1], float64; features without weights (a norm below 1e-9 of the largest)
        are left out, NaN if fewer than two are left.

    Raises:
        InputError: As :func:`feature_dimensionality`.

    Source:
        Elhage et al., arXiv 2209.10652.
    """
    values = _checked(directions)
    norms = values.norm(dim=-1, keepdim=True)
    has = norms > _ROUNDING * norms.amax(-2, keepdim=True)
    units = torch.where(has, values / norms, 0)
    count = has[..., 0].sum(-1)
    total = (units @ units.mT).square().sum((-1, -2)) - count
    pairs = (count * (count - 1)).double()
    return torch.where(pairs > 0, total.clamp_min(0) / pairs, torch.nan)


@edge
def fourier_directions(weight: Tensor) -> Tensor:
    r"""The cosines and sines over the classes as directions in the space of the neurons.

    Args:
        weight: ``[..., P, H]``, the output matrix as ``nn.Linear`` has it.

    Returns:
        ``[..., 2⌊P/2⌋, H]`` (one less for even P): all cosines of rising frequency from 1, then all sines; coefficients
        in the orthonormal basis.

    Raises:
        InputError: If P < 3.
    """
    size = weight.shape[-2] if weight.dim() >= 2 else 0
    if size < 3:
        raise InputError(f"expected an output matrix [..., P, H] with P >= 3, got {list(weight.shape)}")
    if not weight.numel():
        return weight.new_zeros((*weight.shape[:-2], size - 1, weight.shape[-1]), dtype=torch.float64)
    modes = torch.fft.rfft(weight.double(), dim=-2, norm="ortho")[..., 1:, :]
    scale = torch.full((modes.shape[-2], 1), 2**0.5, dtype=torch.float64, device=weight.device)
    if size % 2 == 0:
        scale[-1] = 1
    sines = (modes.imag * scale)[..., : (size - 1) // 2, :]
    return torch.cat([modes.real * scale, -sines], -2)


@edge
def frequencies_per_neuron(weight: Tensor) -> Tensor:
    r"""How many frequencies each neuron's output weights use: ``exp H`` of the power by frequency.

    Cosine and sine of a frequency count together, the constant is left out.

    Args:
        weight: ``[..., P, H]``, the output matrix as ``nn.Linear`` has it, P >= 3.

    Returns:
        ``[..., H]`` in [1, ⌊P/2⌋], float64; NaN for dead neurons.

    Raises:
        InputError: If P < 3.

    Source:
        Hill's number of order 1 in place of the inverse participation ratio of arXiv 2502.01739, eq. 4.
    """
    if weight.dim() < 2 or weight.shape[-2] < 3:
        raise InputError(f"expected an output matrix [..., P, H] with P >= 3, got {list(weight.shape)}")
    size = weight.shape[-2]
    power = fourier_power(weight.double().transpose(-1, -2))[..., 1:]
    cosines, sines = power[..., : size // 2], power[..., size // 2 :]
    both = cosines.clone()
    both[..., : sines.shape[-1]] += sines
    return entropy_count(both)


@edge
def live_neurons(first: Tensor, last: Tensor, tolerance: float = 1e-3) -> Tensor:
    """Neurons whose path from input to output carries anything to speak of.

    Args:
        first: Input weights ``[..., H, D]``.
        last: Output weights ``[..., C, H]``.
        tolerance: Least norm of the input weights times norm of the output weights, of the layer's largest.

    Returns:
        Booleans ``[..., H]``.

    Raises:
        InputError: If the shapes do not fit.
    """
    if first.dim() < 2 or last.dim() < 2 or first.shape[-2] != last.shape[-1]:
        raise InputError(
            f"expected input weights [..., H, D] and output weights [..., C, H], got {list(first.shape)} and "
            f"{list(last.shape)}"
        )
    carried = first.double().norm(dim=-1) * last.double().norm(dim=-2)
    live: Tensor = (carried > 0) & (carried >= float(tolerance) * carried.amax(-1, keepdim=True))
    return live


def _checked(directions: Tensor) -> Tensor:
    if directions.dim() < 2 or 0 in directions.shape[-2:]:
        raise InputError(f"expected directions [..., F, N], a row for each feature, got {list(directions.shape)}")
    if not directions.isfinite().all():
        raise InputError("directions of features must be finite")
    return directions.detach().double()

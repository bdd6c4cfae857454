"""Inverse participation ratio: how few Fourier modes a neuron's weights use."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from grokfast._checks import parse_choice
from grokfast._edge import computable, edge
from grokfast.errors import InputError


class FourierBasis(StrEnum):
    """The basis of the Fourier transform; arXiv 2502.01739, eq. 4, leaves it open."""

    REAL = "real"
    """Orthonormal constant, cosines and sines: a single wave has a ratio in [1/2, 1], by its phase."""
    COMPLEX = "complex"
    """Orthonormal exponentials: a single real wave has the ratio 1/2."""


class InputBlocks(StrEnum):
    """How the two blocks of input weights (first and second summand) enter; the paper leaves it open."""

    JOINT = "joint"
    """One ratio over the coefficients of both blocks, as its D = 2P says."""
    SEPARATE = "separate"
    """The mean of the two blocks' ratios."""


@edge
def fourier_power(weights: Tensor, basis: str | FourierBasis = FourierBasis.REAL, constant: bool = True) -> Tensor:
    r"""Squared orthonormal Fourier coefficients along the last axis.

    Args:
        weights: ``[..., D]``, real.
        basis: ``"real"`` or ``"complex"``.
        constant: Whether the constant mode is kept.

    Returns:
        ``[..., D]`` (or ``D - 1``): in the real basis the constant, then the cosines of rising frequency, then the
        sines; in the complex basis frequency 0, 1, ..., D - 1. The sum is the squared norm of the weights (less the
        constant's share).
    """
    if weights.dim() == 0 or weights.shape[-1] < 2:
        raise InputError(f"expected weights [..., D] with D >= 2, got {list(weights.shape)}")
    complex_basis = parse_choice("basis", basis, FourierBasis) is FourierBasis.COMPLEX
    weights = computable(weights)
    if not weights.numel():  # no neuron at all, which the transforms do not know
        power: Tensor = torch.zeros_like(weights)
    elif complex_basis:
        power = torch.fft.fft(weights, norm="ortho").abs().square()
    else:
        size = weights.shape[-1]
        modes = torch.fft.rfft(weights, norm="ortho")
        twice = torch.full((modes.shape[-1],), 2.0, dtype=weights.dtype, device=weights.device)
        twice[0] = 1
        if size % 2 == 0:
            twice[-1] = 1  # the highest frequency has no sine
        cosines, sines = modes.real.square() * twice, modes.imag.square() * twice
        power = torch.cat([cosines, sines[..., 1 : (size + 1) // 2]], dim=-1)
    return power if constant else power[..., 1:]


@edge
def inverse_participation_ratio(power: Tensor) -> Tensor:
    r"""Inverse participation ratio of squared coefficients.

    .. math:: \mathrm{IPR} = \frac{\sum_\nu |\tilde W_\nu|^4}{\bigl(\sum_\nu |\tilde W_\nu|^2\bigr)^2}

    Args:
        power: ``[..., D]``, the squared coefficients :math:`|\tilde W_\nu|^2`.

    Returns:
        ``[...]`` in [1/D, 1]; NaN where all coefficients are zero: a dead neuron has no ratio.

    Raises:
        InputError: If there is no coefficient or one is negative.

    Source:
        arXiv 2502.01739, eq. 4.
    """
    if power.dim() == 0 or power.shape[-1] == 0:
        raise InputError(f"expected coefficients [..., D] with D >= 1, got {list(power.shape)}")
    if (power < 0).any():
        raise InputError("squared coefficients must be at least 0; fourier_power gives them")
    power = computable(power)
    scaled = power / power.amax(-1, keepdim=True)  # guards the squares against underflow
    return scaled.square().sum(-1) / scaled.sum(-1).square()


@edge
def output_ipr(weight: Tensor, *, basis: str | FourierBasis = FourierBasis.REAL, constant: bool = True) -> Tensor:
    """IPR of each hidden neuron over the classes of the output matrix (D = P).

    Args:
        weight: ``[..., P, H]``, as ``nn.Linear`` has it.
        basis: ``"real"`` or ``"complex"``.
        constant: Whether the constant mode is included, as in eq. 4.

    Returns:
        ``[..., H]``, NaN for dead neurons.
    """
    if weight.dim() < 2:
        raise InputError(f"expected output weights [..., P, H], got {list(weight.shape)}")
    return inverse_participation_ratio(fourier_power(weight.transpose(-1, -2), basis, constant))


@edge
def input_ipr(
    weight: Tensor,
    *,
    basis: str | FourierBasis = FourierBasis.REAL,
    blocks: str | InputBlocks = InputBlocks.JOINT,
    constant: bool = True,
) -> Tensor:
    """IPR of each hidden neuron over its input weights (D = 2P): each summand's block is transformed by itself.

    Args:
        weight: ``[..., H, 2P]``, as ``nn.Linear`` has it.
        basis: ``"real"`` or ``"complex"``.
        blocks: ``"joint"`` or ``"separate"``.
        constant: Whether the constant modes are included, as in eq. 4.

    Returns:
        ``[..., H]``, NaN for dead neurons (with ``"separate"``: with a block of zeros).
    """
    if weight.dim() < 2 or weight.shape[-1] % 2:
        raise InputError(f"expected input weights [..., H, 2P], got {list(weight.shape)}")
    power = fourier_power(weight.reshape(*weight.shape[:-1], 2, weight.shape[-1] // 2), basis, constant)
    if parse_choice("blocks", blocks, InputBlocks) is InputBlocks.JOINT:
        return inverse_participation_ratio(power.flatten(-2))
    return inverse_participation_ratio(power).mean(-1)


@edge
def layer_ipr(ratios: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ratio over the live neurons of a layer, and the number of dead ones.

    Args:
        ratios: ``[..., H]`` with NaN for dead neurons.

    Returns:
        Mean ``[...]`` (NaN if all are dead) and int64 count ``[...]``.

    Source:
        arXiv 2502.01739, eq. 7.
    """
    if ratios.dim() == 0:
        raise InputError("expected ratios [..., H], got a tensor without axes")
    ratios = computable(ratios)
    return ratios.nanmean(-1), ratios.isnan().sum(-1)

"""Progress measures of modular addition: how much of the logits is the Fourier solution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from grokfast._checks import check_fraction
from grokfast._edge import edge
from grokfast.errors import InputError

_ROUNDING = 1e-24  # of the whole power is rounding's


@dataclass(frozen=True)
class ProgressLosses:
    r"""Losses of logits with and without the Fourier solution, in nats.

    Attributes:
        restricted: ``[...]`` of the constant and the key waves alone, over all pairs.
        excluded: ``[...]`` of the logits without the key waves, over the training pairs.
        trigonometric: ``[...]`` of the best logits of the form :math:`\sum_k \alpha_k \cos w_k(a + b - c)`, over
            all pairs.
    """

    restricted: Tensor
    excluded: Tensor
    trigonometric: Tensor


def sum_waves(logits: Tensor) -> Tensor:
    r"""Fourier coefficients of logits in a + b: the part that depends on the sum of the summands alone.

    Args:
        logits: ``[..., P, P, P]``, by a, b and class.

    Returns:
        Complex ``[..., ⌊P/2⌋ + 1, P]``, by frequency and class; float64 parts.

    Raises:
        InputError: If the shape is another.
    """
    waves: Tensor = torch.fft.rfft(_by_sum(logits), dim=-2)
    return waves


@edge
def key_frequencies(logits: Tensor, share: float = 0.9) -> Tensor:
    """The fewest frequencies that hold a share of the power of the logits in a + b, the constant left out.

    Args:
        logits: ``[..., P, P, P]``, by a, b and class.
        share: Of the power, in (0, 1).

    Returns:
        Booleans ``[..., ⌊P/2⌋]`` of the frequencies from 1; none where the power is zero.

    Raises:
        InputError: If the shape is another, or P < 3.
    """
    check_fraction("share", share)
    every = sum_waves(logits).abs().square().sum(-1)
    power = every[..., 1:]
    power = power * (power > _ROUNDING * every.sum(-1, keepdim=True))
    ranked, order = power.sort(dim=-1, descending=True)
    before = ranked.cumsum(-1) - ranked
    keep = (before < share * ranked.sum(-1, keepdim=True)) & (ranked > 0)
    return torch.zeros_like(keep).scatter(-1, order, keep)


@edge
def key_waves(logits: Tensor, keys: Tensor) -> Tensor:
    r"""Projection of logits on :math:`\cos w_k(a+b)` and :math:`\sin w_k(a+b)` of the key frequencies.

    Args:
        logits: ``[..., P, P, P]``, by a, b and class.
        keys: Booleans ``[..., ⌊P/2⌋]``.

    Returns:
        ``[..., P, P, P]``, float64.

    Raises:
        InputError: If a shape is another.
    """
    waves = sum_waves(logits)
    size = logits.shape[-1]
    return _from_sum(torch.fft.irfft(waves * _all_waves(keys, size)[..., None], n=size, dim=-2))


@edge
def cosine_logits(logits: Tensor, keys: Tensor) -> Tensor:
    r"""Projection of logits on :math:`\cos w_k(a+b-c)` of the key frequencies: the Fourier solution itself.

    Args:
        logits: ``[..., P, P, P]``, by a, b and class.
        keys: Booleans ``[..., ⌊P/2⌋]``.

    Returns:
        ``[..., P, P, P]``, float64.

    Raises:
        InputError: If a shape is another.
    """
    by_sum = _by_sum(logits)
    size = logits.shape[-1]
    places = (torch.arange(size)[:, None] + torch.arange(size)) % size  # the sum of difference d and class c
    by_difference = by_sum.gather(-2, places.to(logits.device).expand_as(by_sum)).mean(-1)  # [..., d]
    even = torch.fft.rfft(by_difference) * _all_waves(keys, size)
    even = torch.fft.irfft(even.real.to(torch.complex128), n=size)
    back = (torch.arange(size)[:, None] - torch.arange(size)) % size
    return _from_sum(even[..., back.to(logits.device)])


@edge
def progress_losses(logits: Tensor, train: Tensor, keys: Tensor) -> ProgressLosses:
    """Restricted, excluded and trigonometric loss of modular addition.

    Args:
        logits: ``[..., P, P, P]``, by a, b and class.
        train: Booleans ``[..., P, P]``: the pairs trained on.
        keys: Booleans ``[..., ⌊P/2⌋]``, such as :func:`key_frequencies` gives of the end model.

    Returns:
        The losses ``[...]``, float64; the excluded one NaN without training pairs.

    Raises:
        InputError: If a shape is another.

    Source:
        Nanda, Chan, Lieberum, Smith, Steinhardt, Progress measures for grokking via mechanistic interpretability,
        arXiv 2301.05217, section 5; the projection on cos w(a + b - c) is that of its section 4.
    """
    values = logits.detach().double()
    waves = key_waves(values, keys)
    if train.dtype != torch.bool or train.shape != values.shape[:-1]:
        raise InputError(f"train must be booleans {list(values.shape[:-1])}, got {train.dtype} {list(train.shape)}")
    constant = values.mean((-2, -3), keepdim=True)
    every = torch.ones_like(train)
    return ProgressLosses(
        _loss(constant + waves, every), _loss(values - waves, train), _loss(cosine_logits(values, keys), every)
    )


def _all_waves(keys: Tensor, size: int) -> Tensor:
    """Which of all frequencies are key ones, ``[..., ⌊P/2⌋ + 1]``: the constant is none."""
    if keys.dtype != torch.bool or keys.shape[-1:] != (size // 2,):
        raise InputError(
            f"keys must be booleans [..., {size // 2}] for P = {size}, got {keys.dtype} {list(keys.shape)}"
        )
    return torch.cat([torch.zeros_like(keys[..., :1]), keys], -1)


def _by_sum(logits: Tensor) -> Tensor:
    """Mean over the pairs of each sum, ``[..., P, C]``."""
    shape = logits.shape
    if len(shape) < 3 or 0 in shape or shape[-1] != shape[-2] or shape[-2] != shape[-3] or shape[-1] < 3:
        raise InputError(f"expected logits [..., P, P, P] by a, b and class with P >= 3, got {list(shape)}")
    size = shape[-1]
    # Row a, column s holds the pair (a, s - a).
    places = (torch.arange(size) - torch.arange(size)[:, None]) % size
    index = places[:, :, None].to(logits.device).expand(shape)
    return logits.double().gather(-2, index).mean(-3)


def _from_sum(by_sum: Tensor) -> Tensor:
    """``[..., P, C]`` by sum to ``[..., P, P, C]`` by pair."""
    size = by_sum.shape[-2]
    sums = (torch.arange(size)[:, None] + torch.arange(size)) % size
    return by_sum[..., sums.to(by_sum.device), :]


def _loss(logits: Tensor, chosen: Tensor) -> Tensor:
    size = logits.shape[-1]
    labels = ((torch.arange(size)[:, None] + torch.arange(size)) % size).to(logits.device)
    flat = logits.reshape(-1, size)
    losses = cross_entropy(flat, labels.expand(logits.shape[:-1]).reshape(-1), reduction="none")
    losses = losses.reshape(logits.shape[:-1]) * chosen
    return losses.sum((-1, -2)) / chosen.sum((-1, -2))

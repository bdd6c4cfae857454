"""What a network makes of the sign of its input: x against -x, and inputs of either sign."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokfast._edge import check_labels, computable, edge
from grokfast.errors import InputError


@dataclass(frozen=True)
class SignLosses:
    r"""Cross entropies of a network on inputs x and on their negatives, and of its even and odd part.

    Attributes:
        plus: Mean loss of f(x), ``[...]`` in nats.
        minus: Mean loss of f(-x), with the labels of x.
        even: Mean loss of :math:`f_+ = (f(x) + f(-x)) / 2`: what a network that cannot see the sign would pay.
        odd: Mean loss of :math:`f_- = (f(x) - f(-x)) / 2`.
        odd_share: :math:`\sum |f_-|^2 / \sum (|f_+|^2 + |f_-|^2)` over samples and classes, each sample's logits taken
            less their mean (softmax does not see it): 0 for an even network, 1 for an odd one; NaN where both vanish.
    """

    plus: Tensor
    minus: Tensor
    even: Tensor
    odd: Tensor
    odd_share: Tensor


@edge
def even_odd_parts(plus: Tensor, minus: Tensor) -> tuple[Tensor, Tensor]:
    r"""Even and odd part of a function from its values at x and -x.

    .. math:: f_\pm(x) = \tfrac12 \bigl(f(x) \pm f(-x)\bigr)

    Args:
        plus: f(x).
        minus: f(-x), the same shape.

    Returns:
        Even part and odd part; their sum is ``plus``.

    Raises:
        InputError: If shapes differ.
    """
    if plus.shape != minus.shape:
        raise InputError(f"expected f(x) and f(-x) of one shape, got {list(plus.shape)} and {list(minus.shape)}")
    plus, minus = computable(plus), computable(minus)
    return (plus + minus) / 2, (plus - minus) / 2


@edge
def sign_losses(plus: Tensor, minus: Tensor, labels: Tensor) -> SignLosses:
    """Loss decomposed by the sign of the input: the first reading, x against -x.

    The energy of an Ising snapshot without a field does not change under x -> -x, and neither does the label, so a
    network that learned the energy is even.

    Args:
        plus: Logits of the inputs, ``[..., N, C]``.
        minus: Logits of the negated inputs, ``[..., N, C]``.
        labels: int64 ``[..., N]``, the same for both.

    Returns:
        The losses, ``[...]`` each, float64.

    Raises:
        InputError: If shapes do not fit, or a label is none of the classes.
    """
    even, odd = even_odd_parts(plus.detach().double(), minus.detach().double())
    if plus.dim() < 2 or 0 in plus.shape[-2:]:
        raise InputError(f"expected logits [..., N, C], got {list(plus.shape)}")
    if labels.shape != plus.shape[:-1]:
        raise InputError(f"labels must be {list(plus.shape[:-1])}, got {list(labels.shape)}")
    check_labels("labels", labels, plus.shape[-1])

    def loss(logits: Tensor) -> Tensor:
        own = logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
        return -own.mean(-1)

    def power(logits: Tensor) -> Tensor:
        return (logits - logits.mean(-1, keepdim=True)).square().sum((-1, -2))

    return SignLosses(
        plus=loss(even + odd),
        minus=loss(even - odd),
        even=loss(even),
        odd=loss(odd),
        odd_share=power(odd) / (power(even) + power(odd)),
    )


@edge
def loss_by_sign(losses: Tensor, signs: Tensor) -> dict[str, Tensor]:
    """Loss decomposed by the sign of the input: the second reading, the mean over inputs of either sign.

    Args:
        losses: Loss of every sample, ``[..., N]`` in nats.
        signs: What gives each sample its sign, ``[N]``: the magnetisation of a snapshot, say. Zero belongs to neither.

    Returns:
        ``"positive"`` and ``"negative"``: ``[...]``, NaN where there is no such sample.

    Raises:
        InputError: If there is not one sign a sample.
    """
    if signs.dim() != 1 or losses.shape[-1:] != signs.shape:
        raise InputError(f"expected losses [..., N] and signs [N], got {list(losses.shape)} and {list(signs.shape)}")
    wide = losses.detach().to(torch.float64)
    return {"positive": wide[..., signs > 0].mean(-1), "negative": wide[..., signs < 0].mean(-1)}

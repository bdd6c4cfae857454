"""The learning rate by step: warm-up, and decay to the end of the run."""

from __future__ import annotations

import math
from enum import StrEnum


class RateDecay(StrEnum):
    """How the learning rate falls after the warm-up."""

    NONE = "none"
    """It stays."""
    LINEAR = "linear"
    """In a straight line to the last step."""
    COSINE = "cosine"
    """Along half a wave: Loshchilov & Hutter 2017, eq. 5, without restarts."""


def rate_factor(step: int, steps: int, warmup: int, decay: RateDecay, end: float) -> float:
    r"""The share of its learning rate that a run steps with.

    With :math:`t` from 1, :math:`W` steps of warm-up, :math:`T` steps in all and
    :math:`x = (t - 1 - W) / (T - W)`:

    .. math::
        f(t) = t / W \text{ for } t \le W, \quad\text{then}\quad 1,\quad e + (1 - e)(1 - x)
        \quad\text{or}\quad e + (1 - e)(1 + \cos \pi x) / 2

    so that step W and the one after it are whole, and the one after the last would have the share :math:`e`.

    Args:
        step: :math:`t`.
        steps: :math:`T`, more than ``warmup`` where the rate decays.
        warmup: :math:`W`.
        decay: How the rate falls.
        end: :math:`e`.

    Source:
        The warm-up of Power et al. 2022 (arXiv 2201.02177, 10 steps); the decays of torch's ``LinearLR`` and
        ``CosineAnnealingLR``.
    """
    if step <= warmup:
        return step / warmup
    if decay is RateDecay.NONE:
        return 1.0
    done = (step - 1 - warmup) / (steps - warmup)
    left = 1 - done if decay is RateDecay.LINEAR else (1 + math.cos(math.pi * done)) / 2
    return end + (1 - end) * left

"""The variants of the Fisher diagonal, by name."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Which distribution of labels the squared score is averaged over."""

    EXACT = "exact"
    """The model's own, summed in closed form (arXiv 2502.01739, eq. 14)."""
    MC = "mc"
    """The model's own, sampled (Martens, arXiv 1412.1193, sec. 5)."""
    EMPIRICAL = "empirical"
    """The true labels: the *empirical* Fisher, not the Fisher (Kunstner et al., arXiv 1905.12558)."""


class Likelihood(StrEnum):
    """How outputs ``f`` become a distribution of labels."""

    CATEGORICAL = "categorical"
    """``p = softmax(f)`` over the last axis: the softmax Fisher of arXiv 2502.01739, eq. 14."""
    BERNOULLI = "bernoulli"
    """Every output is a logit of its own: ``p = 1 / (1 + exp(-f))``."""
    GAUSSIAN = "gaussian"
    """Unit variance around ``f``: exact, it is the logit Fisher of that paper's published code."""


class Reduction(StrEnum):
    """What is done over samples."""

    MEAN = "mean"
    """Mean over samples of squares (never the square of a mean)."""
    SUM = "sum"
    """Sum over samples of squares."""


class Way(StrEnum):
    """How the diagonal of one parameter is computed."""

    CLOSED_FORM = "closed-form"
    """One hidden ReLU layer: no backward pass at all."""
    FUSED = "fused"
    """A chain of convolutions, poolings and linear layers: one compiled pass per block of samples."""
    RULE = "rule"
    """A rule for the layer, from its input and the gradient at its output."""
    VMAP = "vmap"
    """Per-sample gradients through ``torch.func``, in chunks of bounded memory."""
    LOOP = "loop"
    """Per-sample gradients one sample at a time, where ``torch.func`` cannot follow the model."""

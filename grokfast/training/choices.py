"""Choices of a run's configuration: optimiser, train metrics, precision."""

from __future__ import annotations

from enum import StrEnum

import torch


class Optimizer(StrEnum):
    """Optimisers of the stacked engine."""

    ADAM = "adam"
    """L2 decay in the gradient, as ``torch.optim.Adam(weight_decay=...)``; the paper's choice."""
    ADAMW = "adamw"
    """Decoupled decay, as ``torch.optim.AdamW``."""
    SGD = "sgd"
    """Momentum and L2 decay, as ``torch.optim.SGD``."""


class TrainMetrics(StrEnum):
    """Where train loss and accuracy of an epoch are taken."""

    RUNNING = "running"
    """Over the epoch's batches while the weights change: the authors' way, at no cost; always taken."""
    FULL = "full"
    """Besides, in columns that end in ``_full``, in a pass over the whole train split after the epoch."""


class Precision(StrEnum):
    """Floating-point type of the parameters."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype."""
        return torch.float32 if self is Precision.FLOAT32 else torch.float64

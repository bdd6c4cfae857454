"""What has been seen of a model so far, and the ways of per-sample gradients it may need."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Single(IntEnum):
    """How per-sample gradients are computed, from the fastest way to the safest."""

    VMAP = 0
    """By ``torch.func`` over samples, each alone."""
    ALONE = 1
    """Each sample in a pass of its own."""
    PAIR = 2
    """Each sample in a pass with its neighbour, for models that squeeze."""
    WHOLE = 3
    """All samples in one pass, each differentiated by itself."""


@dataclass
class Findings:
    """What has been seen of a model so far.

    Attributes:
        trusted: By the sequence of uses: parameters whose rules did not reproduce autograd's gradient.
        single: The first way of per-sample gradients that has not failed.
        narrow: The model does not run in float64.
        opaque: The model cannot be traced, so nothing goes by rules.
        probed: How many samples the probe had.
        sample_bytes: Memory of one sample.
    """

    trusted: dict[tuple[object, ...], set[str]] = field(default_factory=dict)
    single: Single = Single.VMAP
    narrow: bool = False
    opaque: bool = False
    probed: int = 0
    sample_bytes: float = 0.0

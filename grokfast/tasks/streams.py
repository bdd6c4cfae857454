"""Independent random streams of a run: each purpose draws from a generator of its own."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from grokfast._checks import check_at_least


def stream(seed: int, purpose: str) -> torch.Generator:
    """The generator of one member for one purpose (``"split"``, ``"labels"``, ``"initial"``, ``"order"``).

    It depends on the two arguments alone, so that what a member draws does not depend on who is stacked with it.

    Args:
        seed: The run's seed, >= 0.
        purpose: Any name; different names give independent streams.

    Returns:
        A CPU generator.
    """
    check_at_least("seed", seed, 0)
    mixed = np.random.SeedSequence([int(seed), zlib.crc32(purpose.encode())]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]) & (2**63 - 1))

"""Whole-model paths: models that are one recognised chain of layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from grokfast.fisher.batches import Block
from grokfast.fisher.job import Job
from grokfast.fisher.variants import Way


class Fused:
    """A compiled path for a whole model."""

    way = Way.FUSED
    reason = ""
    block = 4096

    def squares(
        self,
        job: Job,
        params: Mapping[str, Tensor] | None,
        block: Block,
        samples: int,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        """Sums over one block of samples of squared gradients, by parameter."""
        raise NotImplementedError


def recognise(
    job: Job, state: Mapping[str, Tensor] | None, leaves: Mapping[str, Tensor], first: Block
) -> Fused | None:
    """The compiled path for this model, if there is one."""
    return None

"""Which of a model's outputs are the logits, and on which axis the classes are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.likelihoods import check_outputs
from grokfast.fisher.variants import Likelihood

Pick = str | int | Callable[[Any], Tensor] | None


@dataclass(frozen=True)
class Outputs:
    """How the logits are taken from what a model returns.

    Attributes:
        likelihood: Which distribution.
        pick: A key or attribute, an index, or a function of the model's result; None for a tensor, or for named
            outputs with a ``logits`` among them.
        class_axis: The axis of the classes (categorical); None for the last one.
    """

    likelihood: Likelihood
    pick: Pick = None
    class_axis: int | None = None

    def of(self, found: Any, samples: int) -> Tensor:
        """The logits ``[samples, ..., C]``, checked."""
        outputs = self._picked(found)
        axis = self.class_axis
        if isinstance(outputs, Tensor) and axis is not None and self.likelihood is Likelihood.CATEGORICAL:
            if not -outputs.dim() <= axis < outputs.dim() or axis % outputs.dim() == 0:
                raise InputError(
                    f"class_axis must be an axis of the outputs {list(outputs.shape)} after the first, got {axis}"
                )
            outputs = outputs.movedim(axis, -1)
        return check_outputs(outputs, samples, self.likelihood)

    def _picked(self, found: Any) -> Any:
        pick = self.pick
        if pick is None:
            if isinstance(found, Mapping) and "logits" in found:
                return found["logits"]
            return found
        if callable(pick):
            return pick(found)
        if isinstance(pick, str) and not isinstance(found, Mapping) and hasattr(found, pick):
            return getattr(found, pick)
        try:
            return found[pick]
        except (KeyError, IndexError, TypeError):
            among = list(found) if isinstance(found, Mapping) else type(found).__name__
            raise InputError(f"logits={pick!r} must name one of the model's outputs, got {among}") from None

    def warn_of_widths(self, outputs: Tensor) -> None:
        """Warn where what is taken for classes looks like the width of an image."""
        if self.class_axis is not None or self.likelihood is not Likelihood.CATEGORICAL or outputs.dim() != 4:
            return
        _, first, height, width = outputs.shape
        if height == width != first:
            warnings.warn(
                f"outputs {list(outputs.shape)}: the last axis ({width}) is taken for the classes, but looks like the "
                "width of an image; pass class_axis=1 if the classes are on axis 1, or class_axis=-1 if this is meant",
                RuntimeWarning,
                stacklevel=2,
            )

"""From a network's outputs to its loss and its right predictions."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor

from grokfast.errors import ConfigError
from grokfast.ops import cross_entropy


class Loss(StrEnum):
    """What a network is trained to lower, as a mean over the samples."""

    CROSS_ENTROPY = "cross-entropy"
    """Minus the logarithm of the label's probability, in nats: ``torch.nn.CrossEntropyLoss``."""
    MEAN_SQUARED_ERROR = "mean-squared-error"
    """Squared difference from the targets, or from one-hot labels, averaged over the outputs too:
    ``torch.nn.MSELoss``."""


LossFunction = Callable[[Tensor, Tensor], Tensor]
"""A loss of one's own: outputs ``[N, ...]`` and labels or targets ``[N, ...]`` to one loss a sample ``[N]``, or to
their mean."""


def loss_and_correct(loss: Loss | LossFunction, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss and right predictions of one network.

    Args:
        loss: Which.
        outputs: ``[N, ...]``.
        labels: int64 ``[N]``, or float targets ``[N, ...]``.

    Returns:
        The loss, a scalar through which gradients flow; and the number of samples whose largest output is that of
        their label, int64, or NaN where the targets are not labels.
    """
    if loss is Loss.CROSS_ENTROPY:
        mean, correct, _ = cross_entropy(outputs[None], labels[None], outputs.requires_grad)
        return mean[0], correct[0]
    if labels.is_floating_point():
        labels = labels.to(outputs.dtype)
    return _mean(loss, outputs, labels), _correct(outputs, labels)


def _mean(loss: Loss | LossFunction, outputs: Tensor, labels: Tensor) -> Tensor:
    if isinstance(loss, Loss):
        if not labels.is_floating_point():
            labels = torch.nn.functional.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
        return (outputs - labels).square().mean()
    values = loss(outputs, labels)
    if not isinstance(values, Tensor) or values.shape not in ((), (len(outputs),)):
        got = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ConfigError(f"a loss must give one number a sample, [{len(outputs)}], or their mean, got {got}")
    return values.mean()


def _correct(outputs: Tensor, labels: Tensor) -> Tensor:
    if not are_labels(labels):
        return outputs.new_full((), torch.nan)
    with torch.no_grad():
        return (outputs.argmax(-1) == labels).sum()


def are_labels(labels: Tensor) -> bool:
    """Whether they are classes, int64 ``[N]``, and not targets of a regression."""
    return labels.dtype == torch.int64 and labels.dim() == 1

"""From a network's outputs to its loss and its right predictions."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from grokfast.errors import ConfigError
from grokfast.ops import cross_entropy_direct


class Loss(StrEnum):
    """What a network is trained to lower, as a mean over the samples."""

    CROSS_ENTROPY = "cross-entropy"
    """Minus the logarithm of the label's probability, in nats: ``torch.nn.CrossEntropyLoss``."""
    MEAN_SQUARED_ERROR = "mean-squared-error"
    """Squared difference from the targets, or from one-hot labels, averaged over the outputs too:
    ``torch.nn.MSELoss``."""
    STABLEMAX = "stablemax"
    """Cross entropy with probabilities ``s(f_c) / Σ s(f)``, ``s(x) = x + 1`` from zero up and ``1 / (1 - x)`` below:
    no softmax that saturates (Prieto et al. 2025, arXiv 2501.04697)."""
    HINGE = "hinge"
    """``max(0, 1 + max_{c ≠ y} f_c - f_y)`` (Crammer & Singer 2001); of two classes the hinge of the difference of the
    outputs, as for sparse parity (Barak et al. 2022, arXiv 2207.08799)."""

    @property
    def unit(self) -> str:
        """``nat`` of what is minus the logarithm of a probability; others are pure numbers."""
        return "nat" if self in (Loss.CROSS_ENTROPY, Loss.STABLEMAX) else ""


LossFunction = Callable[[Tensor, Tensor], Tensor]
"""A loss of one's own: outputs ``[N, ...]`` and labels or targets ``[N, ...]`` to one loss a sample ``[N]``, or to
their mean."""


class Judged(NamedTuple):
    """What one network's outputs are worth.

    Attributes:
        loss: Mean loss, a scalar.
        correct: Samples whose largest output is that of their label, int64; NaN where the targets are no labels.
        gradient: Of the loss in the outputs ``[N, ...]``; None if it was not asked for.
    """

    loss: Tensor
    correct: Tensor
    gradient: Tensor | None


def judge(loss: Loss | LossFunction, outputs: Tensor, labels: Tensor, with_gradient: bool) -> Judged:
    """Mean loss, right predictions and gradient of one network's outputs.

    Args:
        loss: Which.
        outputs: ``[N, ...]``, without a history.
        labels: int64 ``[N]``, or float targets ``[N, ...]``.
        with_gradient: Whether the gradient is wanted.
    """
    if loss is Loss.CROSS_ENTROPY:
        mean, correct, gradient = cross_entropy_direct(outputs[None], labels[None], with_gradient)
        return Judged(mean[0], correct[0], gradient[0] if with_gradient else None)
    if labels.is_floating_point():
        labels = labels.to(outputs.dtype)
    correct = _correct(outputs, labels)
    if loss is Loss.MEAN_SQUARED_ERROR:
        targets = labels
        if not labels.is_floating_point():
            targets = torch.nn.functional.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
        difference = outputs - targets
        return Judged(difference.square().mean(), correct, difference * (2 / difference.numel()))
    function = _of_own(loss)
    if not with_gradient:
        return Judged(_own(function, outputs, labels), correct, None)
    leaf = outputs.detach().requires_grad_()
    with torch.enable_grad():
        mean = _own(function, leaf, labels)
    if not mean.requires_grad:
        raise ConfigError("a loss must depend on the outputs in a way that can be differentiated")
    return Judged(mean.detach(), correct, torch.autograd.grad(mean, leaf)[0])


def mean_loss(loss: Loss | LossFunction, outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean loss of one network's outputs, a scalar that autograd can follow to the outputs, twice too.

    Args:
        loss: Which.
        outputs: ``[N, ...]``.
        labels: int64 ``[N]``, or float targets ``[N, ...]``.
    """
    if loss is Loss.CROSS_ENTROPY:
        return torch.nn.functional.cross_entropy(outputs, labels)
    if loss is Loss.MEAN_SQUARED_ERROR:
        targets = labels if labels.is_floating_point() else torch.nn.functional.one_hot(labels, outputs.shape[-1])
        return torch.nn.functional.mse_loss(outputs, targets.to(outputs.dtype))
    return _own(_of_own(loss), outputs, labels)


def judge_members(
    loss: Loss | LossFunction, outputs: Tensor, labels: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """:func:`judge` of each member's outputs.

    Args:
        loss: Which.
        outputs: ``[E, N, ...]``, without a history.
        labels: ``[E, N]``, or float targets ``[E, N, ...]``.
        with_gradient: Whether the gradient is wanted.

    Returns:
        Mean loss ``[E]``, right predictions ``[E]``, and the gradient ``[E, N, ...]`` of each member's own loss.
    """
    found = [judge(loss, *one, with_gradient) for one in zip(outputs, labels, strict=True)]
    gradients = [judged.gradient for judged in found if judged.gradient is not None]
    stacked = torch.stack(gradients) if with_gradient else None
    return torch.stack([judged.loss for judged in found]), torch.stack([judged.correct for judged in found]), stacked


def _stablemax(outputs: Tensor, labels: Tensor) -> Tensor:
    if not are_labels(labels):
        raise ConfigError(f"the stablemax loss takes classes, int64 [N], got {labels.dtype} {list(labels.shape)}")
    # log s(x), of x >= 0 and of x < 0; the other branch sees 0, so that no gradient of it can be NaN
    above, below = outputs.clamp_min(0), outputs.clamp_max(0)
    logs = torch.where(outputs >= 0, torch.log1p(above), -torch.log1p(-below))
    return logs.logsumexp(-1) - logs.gather(-1, labels[:, None])[:, 0]


def _hinge(outputs: Tensor, labels: Tensor) -> Tensor:
    if not are_labels(labels):
        raise ConfigError(f"the hinge loss takes classes, int64 [N], got {labels.dtype} {list(labels.shape)}")
    own = labels[:, None]
    best = outputs.scatter(-1, own, -torch.inf).amax(-1)
    return (1 + best - outputs.gather(-1, own)[:, 0]).clamp_min(0)


_OWN: dict[Loss, LossFunction] = {Loss.STABLEMAX: _stablemax, Loss.HINGE: _hinge}


def _of_own(loss: Loss | LossFunction) -> LossFunction:
    return _OWN[loss] if isinstance(loss, Loss) else loss


def _own(loss: LossFunction, outputs: Tensor, labels: Tensor) -> Tensor:
    values = loss(outputs, labels)
    if not isinstance(values, Tensor) or values.shape not in ((), (len(outputs),)):
        got = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ConfigError(f"a loss must give one number a sample, [{len(outputs)}], or their mean, got {got}")
    return values.mean()


def _correct(outputs: Tensor, labels: Tensor) -> Tensor:
    if not are_labels(labels):
        return outputs.new_full((), torch.nan)
    return (outputs.argmax(-1) == labels).sum()


def are_labels(labels: Tensor) -> bool:
    """Whether they are classes, int64 ``[N]``, and not targets of a regression."""
    return labels.dtype == torch.int64 and labels.dim() == 1

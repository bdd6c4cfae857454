"""What a task is to the training loop: data, model, stacked forward pass and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from grokfast.measures import Column
from grokfast.models import Params
from grokfast.ops import cross_entropy
from grokfast.tasks.outputs import Loss, LossFunction, judge_members

_SAMPLES_AT_ONCE = 1024


@dataclass(frozen=True)
class Split:
    """Train and test data of one run.

    Attributes:
        train_inputs: ``[n_train, ...]``.
        train_labels: int64 ``[n_train]``, a share of them wrong under label noise; or float targets ``[n_train, K]``.
        test_inputs: ``[n_test, ...]``.
        test_labels: int64 ``[n_test]``, always right; or float targets ``[n_test, K]``.
    """

    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class Features:
    """Task-specific features of a stack of models.

    Attributes:
        scalars: Summaries ``[E]`` by name, which may be streamed during training.
        arrays: Details ``[E, ...]`` by name, kept for the end model.
    """

    scalars: Mapping[str, Tensor]
    arrays: Mapping[str, Tensor]


@runtime_checkable
class Task(Protocol):
    """A frozen dataclass whose fields are the task's part of a run's configuration."""

    name: ClassVar[str]
    """The task's name on the command line and in the store."""

    title: ClassVar[str]
    """What headings of figures and reports call it."""

    input_major: ClassVar[tuple[str, ...]]
    """Matrices whose columns the stacked forward pass gathers."""

    member_by_member: ClassVar[bool]
    """Whether an epoch of one member follows another's, so that one member's memory at a time is in the cache, or the
    whole stack takes each step together."""

    unkeyed: ClassVar[tuple[str, ...]]
    """Fields that say where data lie and not what they are: no part of a run's key."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The training this task is given where a run's configuration does not set it: epochs, batch size, rates."""
        ...

    @property
    def train_samples(self) -> int:
        """Number of training samples: no batch is larger."""
        ...

    @property
    def has_accuracy(self) -> bool:
        """Whether a prediction is right or wrong; without, accuracies are NaN."""
        ...

    @property
    def columns(self) -> Sequence[Column]:
        """What each scalar and array of ``features`` means."""
        ...

    @property
    def pruned(self) -> Sequence[str] | None:
        """Names of the parameters that pruning takes; None for all matrices and kernels."""
        ...

    def split(self, seed: int) -> Split:
        """Data of the run with this seed."""
        ...

    def module(self) -> nn.Module:
        """The model as an ordinary module, freshly initialised by torch."""
        ...

    def initial(self, seed: int, w0: float, dtype: torch.dtype) -> Params:
        """Initial parameters of one member, times the initialisation scale ``w0``."""
        ...

    def encode(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """What ``module()`` takes for the inputs of a split."""
        ...

    def logits(self, params: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Stacked forward pass: inputs ``[E, N, ...]`` to logits ``[E, N, C]``."""
        ...

    def losses(self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss ``[E]`` and correct predictions ``[E]``, on inputs ``[E, N, ...]``.

        The predictions are int64, or NaN in a floating-point type for a task without accuracy.
        """
        ...

    def gradients(
        self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor, out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What ``losses`` returns, and each member's gradient of its own loss into ``out``."""
        ...

    def features(self, params: Mapping[str, Tensor], inputs: Tensor) -> Features:
        """Features of the stack ``[E, ...]``, on each member's test inputs ``[E, N, ...]`` where they need data."""
        ...


def losses_of_logits(task: Task, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """``Task.losses`` for any task, from its logits."""
    kind = loss_function_of(task)
    with torch.no_grad():
        outputs = task.logits(params, inputs)
        if kind is Loss.CROSS_ENTROPY:
            loss, correct, _ = cross_entropy(outputs, labels, False)
        else:
            loss, correct, _ = judge_members(kind, outputs, labels, False)
    return loss, correct


def gradients_by_autograd(
    task: Task, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor, out: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """``Task.gradients`` for any task, from its logits: the members' losses are summed, so each keeps its own."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in params.items()}
    kind, tensors = loss_function_of(task), list(leaves.values())
    if kind is Loss.CROSS_ENTROPY:
        loss, correct, _ = cross_entropy(task.logits(leaves, inputs), labels, True)
        gradients = torch.autograd.grad(loss.sum(), tensors)
    else:
        outputs = task.logits(leaves, inputs)
        loss, correct, slope = judge_members(kind, outputs.detach(), labels, True)
        gradients = torch.autograd.grad(outputs, tensors, slope)
    for name, gradient in zip(leaves, gradients, strict=True):
        out[name].copy_(gradient)
    return loss.detach(), correct


def loss_function_of(task: Task) -> Loss | LossFunction:
    """What a task's networks are trained to lower: its ``loss_function``, or cross entropy where it names none."""
    found: Loss | LossFunction = getattr(task, "loss_function", Loss.CROSS_ENTROPY)
    return found


def evaluate(task: Task, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss and accuracy of a stack on whole data sets, in blocks that stay in the cache.

    Args:
        task: The task.
        params: Stacked parameters ``[E, ...]``.
        inputs: ``[E, N, ...]``.
        labels: int64 ``[E, N]``, or float targets ``[E, N, K]``.

    Returns:
        Loss ``[E]`` and accuracy ``[E]``, float64; accuracy is NaN for a task without.
    """
    samples = labels.shape[1]
    loss = torch.zeros(labels.shape[0], dtype=torch.float64, device=labels.device)
    correct = torch.zeros_like(loss)
    with torch.no_grad():
        for first in range(0, samples, _SAMPLES_AT_ONCE):
            block = slice(first, first + _SAMPLES_AT_ONCE)
            truth = labels[:, block]
            mean, hits = task.losses(params, inputs[:, block], truth)
            loss += mean.double() * truth.shape[1]
            correct += hits
    return loss / samples, correct / samples

"""The losses of many networks with data of their own, all their chains as one stack, by a task's own kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.learning_coefficient.curvature import Curvature
from grokfast.models import Params

_SAMPLES_AT_ONCE = 16_384


class StackedLoss(Protocol):
    """Losses and gradients of a stack, as tasks have them."""

    def losses(self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss ``[R]`` on inputs ``[R, N, ...]`` and labels ``[R, N, ...]``, and anything."""
        ...

    def gradients(
        self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor, out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What ``losses`` gives, and each member's gradient of its own loss into ``out``."""
        ...


class StackedDensity:
    """Networks of one architecture, each with its own data; a row's bits do not depend on the others.

    Args:
        loss: Of a stack; a task, for its fused kernels.
        params: The networks at w*, ``[E, ...]``; chains keep the memory order of each tensor.
        inputs: ``[E, n, ...]``.
        labels: ``[E, n, ...]``.

    Raises:
        InputError: If there are fewer than two samples, samples and labels do not match, or a parameter or a loss is
            not finite.
    """

    def __init__(self, loss: StackedLoss, params: Params, inputs: Tensor, labels: Tensor) -> None:
        if inputs.shape[:2] != labels.shape[:2] or inputs.shape[1] < 2:
            raise InputError(
                "inputs and labels must be the same two or more samples of each network, got "
                f"{list(inputs.shape[:2])} and {list(labels.shape[:2])}"
            )
        for name, tensor in params.items():
            if len(tensor) != len(inputs):
                raise InputError(f"{name} is a stack of {len(tensor)}, but there are data of {len(inputs)} networks")
            if not bool(tensor.isfinite().all()):
                raise InputError(f"the parameters must be finite, but {name} holds NaN or infinity")
        self._stack, self._params, self._inputs, self._labels = loss, params, inputs, labels
        self._rows_of: tuple[int, Tensor, Tensor] = (0, inputs, labels)

    @property
    def samples(self) -> int:
        """How many samples each loss is the mean over."""
        return self._labels.shape[1]

    @property
    def center(self) -> Params:
        """The parameters as given."""
        return self._params

    def only(self, nets: Sequence[int]) -> StackedDensity:
        """That of some of the networks."""
        chosen = list(nets)
        params = {name: _chosen(tensor, chosen) for name, tensor in self._params.items()}
        return StackedDensity(self._stack, params, self._inputs[chosen], self._labels[chosen])

    def loss(self, params: Params) -> Tensor:
        """Mean loss of each row ``[R]`` on all samples."""
        inputs, labels = self._rows(params)
        total = torch.zeros(len(labels), dtype=torch.float64)
        with torch.no_grad():
            for block in _blocks(self.samples):
                part = self._stack.losses(params, inputs[:, block], labels[:, block])[0]
                total += part.detach().double().cpu() * (len(labels[0, block]) / self.samples)
        return total

    def gradient(self, params: Params, out: Params, batch: Tensor | None = None) -> Tensor:
        """The loss of each row ``[R]`` and its gradient into ``out``."""
        inputs, labels = self._rows(params)
        if batch is not None:
            rows = torch.arange(len(batch))[:, None]
            inputs, labels = inputs[rows, batch], labels[rows, batch]
        samples = labels.shape[1]
        blocks = _blocks(samples)
        if len(blocks) == 1:
            return self._gradients(params, inputs, labels, out)
        total = torch.zeros(len(labels), dtype=torch.float64)
        part = {name: torch.empty_like(tensor) for name, tensor in out.items()}
        for tensor in out.values():
            tensor.zero_()
        for block in blocks:
            share = len(labels[0, block]) / samples
            total += self._gradients(params, inputs[:, block], labels[:, block], part) * share
            for name, tensor in out.items():
                tensor.add_(part[name], alpha=share)
        return total

    def _gradients(self, params: Params, inputs: Tensor, labels: Tensor, out: Params) -> Tensor:
        with torch.enable_grad():
            return self._stack.gradients(params, inputs, labels, out)[0].detach().double().cpu()

    def _rows(self, params: Params) -> tuple[Tensor, Tensor]:
        """The data of each row, laid out as kernels read them."""
        rows, nets = next(iter(params.values())).shape[0], len(self._inputs)
        if self._rows_of[0] != rows:
            both = (self._inputs, self._labels)
            if nets == 1:
                inputs, labels = (data.expand(rows, *data.shape[1:]).contiguous() for data in both)
            else:
                inputs, labels = (data.repeat_interleave(rows // nets, 0) for data in both)
            self._rows_of = (rows, inputs, labels)
        return self._rows_of[1:]


def stacked_curvature(parts: Sequence[Curvature]) -> Curvature:
    """The curvature of a stack, network by network.

    Args:
        parts: One a network, each of stacks of one.
    """

    def diagonal(center: Params) -> Params:
        rows = [part({name: tensor[e : e + 1] for name, tensor in center.items()}) for e, part in enumerate(parts)]
        return {name: torch.cat([row[name] for row in rows]) for name in center}

    return diagonal


def _blocks(samples: int) -> list[slice]:
    return [slice(first, first + _SAMPLES_AT_ONCE) for first in range(0, samples, _SAMPLES_AT_ONCE)]


def _chosen(tensor: Tensor, members: Sequence[int]) -> Tensor:
    """Some members, in the memory order that they have."""
    own = tensor[0]
    found = torch.empty_strided(
        (len(members), *own.shape), (own.numel(), *own.stride()), dtype=tensor.dtype, device=tensor.device
    )
    return found.copy_(tensor[list(members)])

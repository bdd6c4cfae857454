"""Compressibility otherwise than by pruning: how many bits a weight needs, and how many singular values a matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from grokfast.measures import Column, Truncated, quantised, size_that_keeps
from grokfast.models import Params
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.pruning import weight_names
from grokfast.tasks import Task, evaluate

_BITS = [0.25 * k for k in range(7, 41)]  # 1.75 to 10
_RANKS = 48  # most ranks tried


class _Coarse:
    """A size at which 95 % of the test accuracy is left, of tasks that have an accuracy."""

    needs = frozenset({Need.PARAMETERS, Need.DATA})
    version = "1"
    name: str
    cost: float
    column: Column

    def columns(self, task: Task) -> Sequence[Column]:
        """One, of tasks with an accuracy."""
        return [self.column] if task.has_accuracy else []

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        return {self.name: self._size(snapshot)} if snapshot.task.has_accuracy else {}

    def _size(self, snapshot: Snapshot) -> Tensor:
        raise NotImplementedError


class QuantisationMeasure(_Coarse):
    """Bits a weight at which 95 % of the test accuracy is left, all matrices and kernels quantised uniformly."""

    name = "quantisation_bits"
    cost = 35.0
    column = Column(
        "quantisation_bits",
        "bits a weight that keep 95 % of the unquantised test accuracy, uniform by tensor; biases are left",
        "bits",
        label="bits at a 5 % loss",
    )

    def _size(self, snapshot: Snapshot) -> Tensor:
        names = _weights(snapshot)
        levels = sorted({2 * round((2**bits - 1) / 2) + 1 for bits in _BITS})

        def coarse(count: int) -> Params:
            return {name: quantised(snapshot.params[name], count) for name in names}

        sizes = torch.tensor(levels, dtype=torch.float64).log2()
        return size_that_keeps(sizes, *_accuracies(snapshot, levels, coarse))


class RankMeasure(_Coarse):
    """Rank at which 95 % of the test accuracy is left, all matrices cut to as many leading singular values."""

    name = "svd_rank"
    cost = 60.0
    column = Column(
        "svd_rank",
        "leading singular values of each matrix that keep 95 % of the test accuracy; smaller ones stay whole",
        label="rank at a 5 % loss",
    )

    def _size(self, snapshot: Snapshot) -> Tensor:
        parts = {name: Truncated(snapshot.params[name]) for name in _weights(snapshot)}
        ranks = _ranks(max(part.largest for part in parts.values()))

        def coarse(rank: int) -> Params:
            return {name: part.to(rank) for name, part in parts.items()}

        sizes = torch.tensor(ranks, dtype=torch.float64)
        return size_that_keeps(sizes, *_accuracies(snapshot, ranks, coarse))


def _weights(snapshot: Snapshot) -> list[str]:
    return [name for name in weight_names(snapshot.params) if snapshot.params[name].dim() > 2]


def _ranks(largest: int) -> list[int]:
    """All ranks of small matrices, of larger ones as many as are tried, close at the low end."""
    if largest <= _RANKS:
        return list(range(largest + 1))
    ratio = largest ** (1 / (_RANKS - 1))
    return sorted({0, largest, *(min(largest, max(k, round(ratio**k))) for k in range(1, _RANKS))})


def _accuracies(
    snapshot: Snapshot, sizes: Sequence[int], coarse: Callable[[int], Mapping[str, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Test accuracy ``[E, S]`` with coarse weights of every size, and ``[E]`` of the networks as they are."""
    inputs, labels = snapshot.test_inputs(), snapshot.test_labels()
    params = {name: tensor.clone() for name, tensor in snapshot.params.items()}  # clones keep the memory order
    whole = evaluate(snapshot.task, params, inputs, labels)[1]
    found = []
    for size in sizes:
        for name, tensor in coarse(size).items():
            params[name].copy_(tensor)
        found.append(evaluate(snapshot.task, params, inputs, labels)[1])
    return torch.stack(found, 1).cpu(), whole.cpu()

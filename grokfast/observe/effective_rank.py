"""Effective rank of every weight matrix."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from grokfast.measures import Column, effective_rank
from grokfast.models import Params
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.pruning import weight_names
from grokfast.tasks import Task, fresh_module


class EffectiveRankMeasure:
    """Effective rank of every weight matrix; kernels are taken as matrices of a row an output."""

    name = "effective_rank"
    needs = frozenset({Need.PARAMETERS})
    cost = 1.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """One a matrix."""
        names = weight_names(dict(fresh_module(task).named_parameters()), stacked=False)
        return [Column(_column(name), f"exp of the entropy of the singular values of {name}") for name in names]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        names = weight_names(snapshot.params)
        return {_column(name): _rank(snapshot.params, name) for name in names}


def _column(name: str) -> str:
    return f"effective_rank_{name.replace('.', '_')}"


def _rank(params: Params, name: str) -> Tensor:
    return effective_rank(params[name].flatten(2))

"""What a measure looks at, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from grokfast.models import Params
from grokfast.tasks import Split, Task, fresh_module, load_parameters

if TYPE_CHECKING:
    from grokfast.training.config import RunConfig


@dataclass(frozen=True)
class Snapshot:
    """What a measure may look at; it must change nothing.

    Attributes:
        epoch: Epochs finished, from 1; 0 in the trial before training.
        task: The stack's task.
        params: Stacked parameters ``[E, ...]``.
        splits: Each member's data.
        configs: Each member's configuration.
        metrics: The epoch's losses and accuracies, and what earlier measures saw in it: ``[E]`` by name.
    """

    epoch: int
    task: Task
    params: Params
    splits: Sequence[Split]
    configs: Sequence[RunConfig] = ()
    metrics: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def members(self) -> int:
        """How many networks the stack has."""
        return len(self.splits)

    def test_inputs(self) -> Tensor:
        """The members' test inputs ``[E, n_test, ...]``."""
        return torch.stack([split.test_inputs for split in self.splits])

    def test_labels(self) -> Tensor:
        """The members' test labels ``[E, n_test]``."""
        return torch.stack([split.test_labels for split in self.splits])

    def model(self, member: int) -> Any:
        """One member as an ordinary module in evaluation mode, with parameters of its own."""
        like = next(iter(self.params.values()))
        module = fresh_module(self.task).to(like.device, like.dtype)
        load_parameters(module, {name: tensor[member].detach().clone() for name, tensor in self.params.items()})
        return module.eval()


@dataclass(frozen=True)
class Dated:
    """Values that belong to an earlier epoch than the one they became known in.

    Attributes:
        epoch: That epoch, from 1.
        values: ``[E]``.
    """

    epoch: int
    values: Tensor


Seen = Mapping[str, Tensor | Dated]
"""What one look gives: ``[E]`` tensors by column."""

"""Superposition: features in the space of the neurons, frequencies per neuron, and a check without features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.measures import (
    Column,
    activation_rank,
    feature_dimensionality,
    fourier_directions,
    frequencies_per_neuron,
    interference,
    live_neurons,
)
from grokfast.observe.hidden import last_hidden
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import ModularAddition, Task


class SuperpositionMeasure:
    """How many features share the neurons of modular addition, whose features are known: cosines and sines.

    Of any network the effective rank of the last hidden layer's activations. A task whose classes are not the
    residues of an addition has this one column alone.
    """

    name = "superposition"
    needs = frozenset({Need.PARAMETERS, Need.DATA})
    cost = 2.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Five of modular addition, and the rank of any."""
        rank = Column("activation_rank", "effective number of directions of the last hidden layer's activations")
        if not isinstance(task, ModularAddition):
            return [rank]
        return [
            Column("live_neurons", "neurons that carry a thousandth of the layer's largest or more", "neurons"),
            Column("feature_packing", "sum of the dimensionalities of all cosines and sines, by live neuron"),
            Column("feature_interference", "mean cos^2 between different features times the number of live neurons"),
            Column("frequencies_per_neuron", "exp of the entropy of a live neuron's output power over frequencies"),
            rank,
            Column("activation_rank_per_neuron", "effective rank of the activations by live neuron"),
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        found: dict[str, Tensor] = {"activation_rank": self._ranks(snapshot)}
        if not isinstance(snapshot.task, ModularAddition):
            return found
        last = snapshot.params[f"{2 * len(snapshot.task.hidden)}.weight"].double()
        before = snapshot.params[f"{2 * len(snapshot.task.hidden) - 2}.weight"].double()
        live = live_neurons(before, last)
        count = live.sum(-1).double()
        directions = fourier_directions(last * live[:, None, :])
        frequencies = torch.where(live, frequencies_per_neuron(last), torch.nan)
        return found | {
            "live_neurons": count,
            "feature_packing": feature_dimensionality(directions).nansum(-1) / count,
            "feature_interference": interference(directions) * count,
            "frequencies_per_neuron": frequencies.nanmean(-1),
            "activation_rank_per_neuron": found["activation_rank"] / count,
        }

    def _ranks(self, snapshot: Snapshot) -> Tensor:
        hidden = [
            last_hidden(snapshot.model(e), snapshot.task, split.test_inputs).hidden
            for e, split in enumerate(snapshot.splits)
        ]
        return torch.stack([activation_rank(values) for values in hidden])

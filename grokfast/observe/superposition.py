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
from grokfast.tasks import Network, Task, added_modulus


class SuperpositionMeasure:
    """How many features share the neurons of modular addition, whose features are known: cosines and sines.

    Of any network the effective rank of the last hidden layer's activations. Tasks whose classes are not the residues
    of an addition, and networks other than an MLP, have this one column alone.
    """

    name = "superposition"
    needs = frozenset({Need.PARAMETERS, Need.DATA})
    cost = 2.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Five of an MLP on modular addition, and the rank of any."""
        rank = Column("activation_rank", "effective number of directions of the last hidden layer's activations")
        if _widths(task) is None:
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
        widths = _widths(snapshot.task)
        if widths is None:
            return found
        last = snapshot.params[f"{2 * len(widths)}.weight"].double()
        before = snapshot.params[f"{2 * len(widths) - 2}.weight"].double()
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


def _widths(task: Task) -> tuple[int, ...] | None:
    """Of the hidden layers of an MLP that adds residues; None for all else."""
    added = added_modulus(task) is not None and getattr(task, "network", Network.MLP) is Network.MLP
    return tuple(task.hidden) if added else None  # type: ignore[attr-defined]

"""Losses by the sign of the input: what a network knows of the symmetry of Ising snapshots."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from grokfast.measures import Column, sign_losses
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import Ising, Task


class SignLossesMeasure:
    """The losses of :func:`grokfast.measures.sign_losses`, of the Ising task."""

    name = "sign_losses"
    needs = frozenset({Need.PARAMETERS, Need.DATA})
    cost = 2.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Five, of the Ising task; none of others, whose inputs have no sign to flip."""
        if not isinstance(task, Ising):
            return []
        return [
            Column("loss_plus", "test loss on the snapshots", "nat"),
            Column("loss_minus", "test loss on the flipped snapshots", "nat"),
            Column("loss_even", "test loss of the even part of the logits", "nat"),
            Column("loss_odd", "test loss of the odd part of the logits", "nat"),
            Column("odd_share", "share of the logits' variance that changes sign with the snapshot"),
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        if not isinstance(snapshot.task, Ising):
            return {}
        inputs = snapshot.test_inputs()
        with torch.no_grad():
            losses = sign_losses(
                snapshot.task.logits(snapshot.params, inputs),
                snapshot.task.logits(snapshot.params, -inputs),
                snapshot.test_labels(),
            )
        found = {f"loss_{name}": getattr(losses, name) for name in ("plus", "minus", "even", "odd")}
        return {**found, "odd_share": losses.odd_share}

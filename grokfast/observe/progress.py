"""Progress measures of modular addition: losses with and without the Fourier solution."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from grokfast.measures import Column, key_frequencies, progress_losses
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import Task, added_modulus


class ProgressMeasure:
    """Restricted, excluded and trigonometric loss, by the key frequencies of the network as it is."""

    name = "progress"
    needs = frozenset({Need.PARAMETERS, Need.DATA})
    cost = 6.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Four, of modular addition under either name and any network; none of other tasks."""
        if added_modulus(task) is None:
            return []
        return [
            Column("restricted_loss", "loss over all pairs of the key waves in a + b and the constant alone", "nat"),
            Column("excluded_loss", "loss over the training pairs without the key waves in a + b", "nat"),
            Column("trigonometric_loss", "loss over all pairs of the best sum of cos w(a + b - c), key w", "nat"),
            Column("key_frequencies", "fewest frequencies with 90 % of the power of the logits in a + b"),
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        size = added_modulus(snapshot.task)
        if size is None:
            return {}
        pairs = torch.cartesian_prod(torch.arange(size), torch.arange(size))
        device = snapshot.test_inputs().device
        train = torch.zeros(snapshot.members, size, size, dtype=torch.bool, device=device)
        for e, split in enumerate(snapshot.splits):
            train[e, split.train_inputs[:, 0], split.train_inputs[:, 1]] = True
        with torch.no_grad():
            logits = snapshot.task.logits(snapshot.params, pairs.to(device).expand(snapshot.members, -1, -1))
        logits = logits.reshape(snapshot.members, size, size, size)
        keys = key_frequencies(logits)
        found = progress_losses(logits, train, keys)
        return {
            "restricted_loss": found.restricted,
            "excluded_loss": found.excluded,
            "trigonometric_loss": found.trigonometric,
            "key_frequencies": keys.sum(-1).double(),
        }

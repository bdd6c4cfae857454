"""The scale of the logits, and the margin of the right class."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from grokfast.measures import Column, logit_margin, logit_scale
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import Task


class LogitScaleMeasure:
    """How large the outputs are on the test split, and how far the right class lies above the others."""

    name = "logit_scale"
    needs = frozenset({Need.PARAMETERS, Need.DATA})
    cost = 1.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Two, of classes; none of a regression, whose outputs are no logits."""
        if not task.has_accuracy:
            return []
        return [
            Column("logit_scale", "root mean square of the test outputs about each sample's mean; of logits in nats"),
            Column("logit_margin", "mean test output of the label less the largest other; of logits in nats"),
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        if not snapshot.task.has_accuracy:
            return {}
        with torch.no_grad():
            logits = snapshot.task.logits(snapshot.params, snapshot.test_inputs())
        labels = snapshot.test_labels()
        return {
            "logit_scale": logit_scale(logits),
            "logit_margin": logit_margin(logits, labels),
        }

"""The task's own features and the norm of the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from grokfast.measures import Column, weight_norm
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import Task


class FeaturesMeasure:
    """The task's feature summaries, and the Euclidean norm of all parameters as ``weight_norm``."""

    name = "features"
    needs = frozenset({Need.PARAMETERS, Need.DATA})
    cost = 2.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """The norm, and what the task declares."""
        norm = Column("weight_norm", "Euclidean norm of all parameters", label="|w|")
        return [norm, *task.columns]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        features = snapshot.task.features(snapshot.params, snapshot.test_inputs())
        return {"weight_norm": weight_norm(snapshot.params), **features.scalars}

    def end(self, snapshot: Snapshot) -> tuple[Seen, Mapping[str, Tensor]]:
        """Both at once, so that features are taken once."""
        features = snapshot.task.features(snapshot.params, snapshot.test_inputs())
        return {"weight_norm": weight_norm(snapshot.params), **features.scalars}, features.arrays

"""Compressibility: what is left when weights are taken away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from grokfast.measures import Column, Kind
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.pruning import compressibility, pruning_fractions, pruning_order, size_at_drop
from grokfast.tasks import Task, task_pruning_curves


class CompressibilityMeasure:
    """The layerwise pruning curve on 101 fractions, and what is read off it."""

    name = "compressibility"
    needs = frozenset({Need.PARAMETERS, Need.DATA})
    cost = 101.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Compressibility in the history; at the end the size at a drop and the curve too."""
        return [
            Column(
                "compressibility",
                "1 / (1 - area under the layerwise pruning curve of test accuracy)",
                label="$c$",
                headline=True,
            ),
            Column(
                "size_at_5_percent_drop",
                "smallest share of weights that keeps 95 % of the unpruned test accuracy",
                kind=Kind.END,
            ),
            Column("pruning_accuracy", "test accuracy by pruned fraction, layerwise by magnitude", kind=Kind.ARRAY),
            Column("pruning_fractions", "share of the weights pruned, of pruning_accuracy", kind=Kind.ARRAY),
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        fractions = pruning_fractions()
        return {"compressibility": compressibility(fractions, stack_pruning_curve(snapshot, fractions))}

    def end(self, snapshot: Snapshot) -> tuple[Seen, Mapping[str, Tensor]]:
        """The look at the end, with the curve."""
        fractions = pruning_fractions()
        curves = stack_pruning_curve(snapshot, fractions)
        found = {
            "compressibility": compressibility(fractions, curves),
            "size_at_5_percent_drop": size_at_drop(fractions, curves),
        }
        return found, {"pruning_accuracy": curves, "pruning_fractions": fractions.expand(len(curves), -1)}


def stack_pruning_curve(snapshot: Snapshot, fractions: Tensor) -> Tensor:
    """Test accuracy ``[E, F]`` of every member at every layerwise pruned fraction."""
    order = pruning_order(snapshot.params, names=snapshot.task.pruned)
    return task_pruning_curves(snapshot.task, snapshot.params, snapshot.splits, fractions, order)[0].cpu()

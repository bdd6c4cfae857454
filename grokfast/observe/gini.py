"""Gini coefficients of the weights and of the Fisher diagonal, and norms by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.fisher import fisher_diag
from grokfast.geometry import MetricFisher
from grokfast.measures import Column, gini_of, layer_norms
from grokfast.models import Params
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.pruning import layers_of, weight_names
from grokfast.tasks import Task, fresh_module


class GiniMeasure:
    """How unequal weights are, over all and by layer."""

    name = "gini"
    needs = frozenset({Need.PARAMETERS})
    cost = 0.1
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Over all weights, all parameters, and each matrix."""
        return [
            Column("gini_weights", "Gini coefficient of |w| over weight matrices and kernels", headline=True),
            Column("gini_parameters", "Gini coefficient of |w| over all parameters"),
            *(
                Column(f"gini_weights_{_plain(layer)}", f"Gini coefficient of |w| of {', '.join(names)}")
                for layer, names in layers_of(_weights(task)).items()
            ),
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        params = snapshot.params
        weights = weight_names(params)
        found = {"gini_weights": gini_of(params, weights), "gini_parameters": gini_of(params)}
        layers = layers_of(weights).items()
        return found | {f"gini_weights_{_plain(layer)}": gini_of(params, names) for layer, names in layers}


class NormsMeasure:
    """Euclidean norm of each parameter tensor."""

    name = "norms"
    needs = frozenset({Need.PARAMETERS})
    cost = 0.1
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """One a tensor."""
        return [Column(f"norm_{_plain(name)}", f"Euclidean norm of {name}") for name in _names(task)]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        return {f"norm_{_plain(name)}": norm for name, norm in layer_norms(snapshot.params).items()}


class GiniFisherMeasure:
    """How unequal the Fisher diagonal on the whole test split is, of the softmax and of the logits."""

    name = "gini_fisher"
    needs = frozenset({Need.PARAMETERS, Need.DATA, Need.FISHER})
    cost = 20.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Over all parameters and over the weights alone."""
        return [
            Column(
                f"gini_fisher{suffix}{part}",
                f"Gini coefficient of the {kind.value} Fisher diagonal over {words}",
                headline=not (suffix or part),
            )
            for kind, suffix in _SUFFIXES.items()
            for part, words in (("", "all parameters"), ("_weights", "weight matrices and kernels"))
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        found: dict[str, Tensor] = {}
        for kind, suffix in _SUFFIXES.items():
            rows = [stack_fisher(snapshot, e, kind) for e in range(snapshot.members)]
            weights = weight_names(snapshot.params)
            found[f"gini_fisher{suffix}"] = torch.cat([gini_of(row) for row in rows])
            found[f"gini_fisher{suffix}_weights"] = torch.cat([gini_of(row, weights) for row in rows])
        return found


_SUFFIXES = {MetricFisher.SOFTMAX: "", MetricFisher.LOGIT: "_logit"}


def stack_fisher(snapshot: Snapshot, member: int, kind: MetricFisher) -> Params:
    """Exact Fisher diagonal of one member on its whole test split, as a stack of one."""
    like = next(iter(snapshot.params.values()))
    inputs = snapshot.task.encode(snapshot.splits[member].test_inputs, like.dtype)
    found = fisher_diag(snapshot.model(member), inputs, likelihood=kind.likelihood)
    return {name: values[None] for name, values in found.items()}


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _names(task: Task) -> list[str]:
    return [name for name, _ in fresh_module(task).named_parameters()]


def _weights(task: Task) -> list[str]:
    return weight_names(dict(fresh_module(task).named_parameters()), stacked=False)

"""Measures of stored end models: Gini coefficients, norms, and the curve of every pruning scheme.

They are computed when first asked for, from the run's last checkpoint and its data, and kept beside the runs
(:mod:`grokfast.store.derived`). ``grokfast measure`` computes them all ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grokfast._checks import parse_choice
from grokfast.fisher import fisher_diag
from grokfast.geometry import MetricFisher
from grokfast.measures import gini_of, layer_norms, sign_losses
from grokfast.models import Params, stack_members
from grokfast.pruning import (
    PruningCurve,
    Scheme,
    layers_of,
    pruning_fractions,
    pruning_order,
    weight_names,
)
from grokfast.runs import MEASURED, Run
from grokfast.store import derived
from grokfast.tasks import Ising, stream, task_pruning_curves

_CURVES = "1"  # version of what end_pruning computes


def end_params(run: Run) -> Params:
    """The end model as a stack of one, in the order of the module and the storage of the task.

    Args:
        run: A finished run.
    """
    return stack_members([run.checkpoint()], run.config.task.input_major)


def end_fisher(run: Run, fisher: str | MetricFisher = MetricFisher.SOFTMAX) -> Params:
    """Fisher diagonal of the end model on the whole test split, exact, as a stack of one.

    Args:
        run: A finished run.
        fisher: ``"softmax"``, or ``"logit"`` as in the published code (which takes 16 samples).
    """
    task = run.config.task
    inputs = task.encode(run.data().test_inputs, run.config.precision.dtype)
    likelihood = parse_choice("fisher", fisher, MetricFisher).likelihood
    return {name: values[None] for name, values in fisher_diag(run.model(), inputs, likelihood=likelihood).items()}


def end_measures(run: Run) -> dict[str, float]:
    """Scalar measures of the end model; columns of the run table once they have been computed.

    ``gini_weights`` (weight matrices and kernels), ``gini_parameters`` (with biases), ``gini_weights_<layer>``;
    ``gini_fisher`` (softmax) and ``gini_fisher_logit`` of all parameters, with ``_weights`` of the weights alone;
    ``norm_<layer>_<parameter>``; for Ising the losses of :func:`grokfast.measures.sign_losses`:
    ``loss_plus``, ``loss_minus``, ``loss_even``, ``loss_odd``, ``odd_share``.

    Args:
        run: A finished run.
    """
    found = derived(run.store, run.key, "scalars", MEASURED, lambda: _measures(run))
    return {name: float(values) for name, values in found.items()}


def end_pruning(
    run: Run,
    scheme: str | Scheme,
    layer: str | None = None,
    fisher: str | MetricFisher = MetricFisher.SOFTMAX,
) -> PruningCurve:
    """Test accuracy and loss of the end model at 101 pruned fractions.

    Args:
        run: A finished run.
        scheme: What goes first.
        layer: Prune this layer alone: what stands before the last dot in its parameters' names.
        fisher: For the Fisher schemes: which Fisher information.

    Returns:
        A curve ``[F]``. Random pruning draws from a stream of the run's seed.
    """
    scheme, fisher = parse_choice("scheme", scheme, Scheme), parse_choice("fisher", fisher, MetricFisher)
    name = "pruning-" + "-".join(
        [scheme.value, *([fisher.value] if scheme.uses_fisher else []), *([] if layer is None else ["layer", layer])]
    )
    found = derived(run.store, run.key, name, _CURVES, lambda: _curve(run, scheme, layer, fisher))
    fractions, accuracy, loss = (torch.from_numpy(found[part]) for part in ("fractions", "accuracy", "loss"))
    return PruningCurve(fractions, accuracy, loss)


def layers(run: Run) -> list[str]:
    """The layers of a run's network that have weights, from the input to the output."""
    return list(layers_of(weight_names(run.config.task.module().state_dict(), stacked=False)))


def measure_everything(run: Run) -> None:
    """Compute and keep every scalar and curve of a run that the figures and reports use."""
    end_measures(run)
    for scheme in (scheme for scheme in Scheme if not scheme.uses_gradients):
        for fisher in MetricFisher if scheme.uses_fisher else (MetricFisher.SOFTMAX,):
            end_pruning(run, scheme, fisher=fisher)
    for layer in layers(run):
        for scheme in (Scheme.LAYERWISE, Scheme.FISHER_LAYERWISE):
            end_pruning(run, scheme, layer)


def _measures(run: Run) -> Mapping[str, Any]:
    params = end_params(run)
    weights = weight_names(params)
    found: dict[str, Tensor] = {"gini_weights": gini_of(params, weights), "gini_parameters": gini_of(params)}
    for name in weights:
        found[f"gini_weights_{name.rpartition('.')[0]}"] = gini_of(params, [name])
    for name, norm in layer_norms(params).items():
        found["norm_" + name.replace(".", "_")] = norm
    for kind in MetricFisher:
        diagonal = end_fisher(run, kind)
        suffix = "" if kind is MetricFisher.SOFTMAX else f"_{kind.value}"
        found[f"gini_fisher{suffix}"] = gini_of(diagonal)
        found[f"gini_fisher{suffix}_weights"] = gini_of(diagonal, weights)
    task = run.config.task
    if isinstance(task, Ising):
        split = run.data()
        inputs = split.test_inputs[None]
        with torch.no_grad():
            losses = sign_losses(task.logits(params, inputs), task.logits(params, -inputs), split.test_labels[None])
        found |= {f"loss_{name}": getattr(losses, name) for name in ("plus", "minus", "even", "odd")}
        found["odd_share"] = losses.odd_share
    return {name: np.float64(values.item()) for name, values in found.items()}


def _curve(run: Run, scheme: Scheme, layer: str | None, fisher: MetricFisher) -> Mapping[str, Any]:
    params, task = end_params(run), run.config.task
    names = None
    if layer is not None:
        names = layers_of(params if scheme.uses_fisher else weight_names(params)).get(layer, [layer])
    order = pruning_order(
        params,
        scheme,
        names=names,
        fisher=end_fisher(run, fisher) if scheme.uses_fisher else None,
        generators=[stream(run.config.seed, "pruning")] if scheme is Scheme.RANDOM else None,
    )
    fractions = pruning_fractions()
    accuracy, loss = task_pruning_curves(task, params, [run.data()], fractions, order)
    return {"fractions": fractions.numpy(), "accuracy": accuracy[0].numpy(), "loss": loss[0].numpy()}

"""Pruning curves of stored end models, computed once and kept beside the runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from grokfast._checks import parse_choice
from grokfast.endmodel.model import end_fisher, end_gradients, end_params
from grokfast.errors import MissingRunsError
from grokfast.geometry import MetricFisher
from grokfast.pruning import PruningCurve, Scheme, layers_of, pruning_fractions, pruning_order, weight_names
from grokfast.runs import Run
from grokfast.store import derived, read_derived
from grokfast.tasks import fresh_module, stream, task_pruning_curves

_CURVES = "1"  # version of what end_pruning computes


def end_pruning(
    run: Run,
    scheme: str | Scheme,
    layer: str | None = None,
    fisher: str | MetricFisher = MetricFisher.SOFTMAX,
) -> PruningCurve:
    """Test accuracy and loss of the end model at 101 pruned fractions, computed when first asked for.

    Args:
        run: A finished run.
        scheme: What goes first.
        layer: Prune this layer alone: what stands before the last dot in its parameters' names.
        fisher: For the Fisher schemes: which Fisher information.

    Returns:
        A curve ``[F]``. Random pruning draws from a stream of the run's seed.
    """
    scheme, fisher = parse_choice("scheme", scheme, Scheme), parse_choice("fisher", fisher, MetricFisher)
    name = curve_name(scheme, layer, fisher)
    found = derived(run.store, run.key, name, _CURVES, lambda: _curve(run, scheme, layer, fisher))
    return _pruning_curve(found)


def kept_pruning(
    run: Run,
    scheme: str | Scheme,
    layer: str | None = None,
    fisher: str | MetricFisher = MetricFisher.SOFTMAX,
) -> PruningCurve:
    """As :func:`end_pruning`, but only what has been computed before.

    Raises:
        MissingRunsError: If it has not; the message has the command.
    """
    scheme, fisher = parse_choice("scheme", scheme, Scheme), parse_choice("fisher", fisher, MetricFisher)
    found = read_derived(run.store, run.key, curve_name(scheme, layer, fisher), _CURVES)
    if found is None:
        raise MissingRunsError(
            f"run {run.key} has no pruning curve {curve_name(scheme, layer, fisher)}; make it with\n"
            f"  grokfast measure --runs {run.store.named}"
        )
    return _pruning_curve(found)


def has_curve(run: Run, name: str) -> bool:
    """Whether a pruning curve of the end model has been kept, by its :func:`curve_name`."""
    return read_derived(run.store, run.key, name, _CURVES) is not None


def curve_name(scheme: Scheme, layer: str | None = None, fisher: MetricFisher = MetricFisher.SOFTMAX) -> str:
    """What the curve of a scheme is kept as."""
    of = [fisher.value] if scheme.uses_fisher else []
    where = [] if layer is None else ["layer", layer]
    return "-".join(["pruning", scheme.value, *of, *where])


def layers(run: Run) -> list[str]:
    """The layers of a run's network that have weights, from the input to the output."""
    return list(layers_of(weight_names(dict(fresh_module(run.config.task).named_parameters()), stacked=False)))


def _pruning_curve(found: Mapping[str, NDArray[Any]]) -> PruningCurve:
    fractions, accuracy, loss = (torch.from_numpy(found[part]) for part in ("fractions", "accuracy", "loss"))
    return PruningCurve(fractions, accuracy, loss)


def _curve(run: Run, scheme: Scheme, layer: str | None, fisher: MetricFisher) -> Mapping[str, Any]:
    params, task = end_params(run), run.config.task
    names = task.pruned
    if layer is not None:
        names = layers_of(params if scheme.uses_fisher else weight_names(params)).get(layer, [layer])
    order = pruning_order(
        params,
        scheme,
        names=names,
        fisher=end_fisher(run, fisher) if scheme.uses_fisher else None,
        gradients=end_gradients(run) if scheme.uses_gradients else None,
        generators=[stream(run.config.seed, "pruning")] if scheme is Scheme.RANDOM else None,
    )
    fractions = pruning_fractions()
    accuracy, loss = task_pruning_curves(task, params, [run.data()], fractions, order)
    return {"fractions": fractions.numpy(), "accuracy": accuracy[0].numpy(), "loss": loss[0].numpy()}

"""Measures applied to stored runs: to their end models, to their checkpoints, and to two runs at a time.

What is computed is kept beside the runs (:mod:`grokfast.store.derived`), so that it is computed once;
``grokfast measure`` computes what figures and reports need.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import grokfast.learning_coefficient as coefficients
from grokfast._checks import parse_choice
from grokfast.errors import GrokfastError, InputError, MissingRunsError
from grokfast.geometry import MetricFisher
from grokfast.models import Params, stack_members, zeros_together
from grokfast.observe import (
    MEASURES,
    RESERVED,
    Dated,
    Ends,
    Measure,
    Need,
    Snapshot,
    checked_values,
    end_coefficients,
    find_measure,
    is_built_in,
)
from grokfast.observe.gini import stack_fisher
from grokfast.pruning import PruningCurve, Scheme, layers_of, pruning_fractions, pruning_order, weight_names
from grokfast.runs import KEPT_COLUMNS, Run, kept_measures
from grokfast.store import derived, read_derived
from grokfast.tasks import fresh_module, stream, task_pruning_curves

_CURVES = "1"  # version of what end_pruning computes

STANDARD = ("gini", "gini_fisher", "norms", "sign_losses")
"""Measures of the end model that figures and reports read."""

LLC = ("llc", "quantisation_bits", "svd_rank")
"""The local learning coefficient, and what it is compared with: minutes a run."""


def snapshot_of(run: Run, epoch: int | None = None) -> Snapshot:
    """A stored run as measures look at it: a stack of one, with its data.

    Args:
        run: A finished run.
        epoch: Of a stored checkpoint; the last if None.
    """
    params = stack_members([run.checkpoint(epoch)], run.config.task.input_major)
    at = run.checkpoint_epochs[-1] if epoch is None else epoch
    history = run.history
    row = int(np.searchsorted(history["epoch"], at))
    metrics = {
        name: torch.from_numpy(values[row : row + 1].astype(np.float64))
        for name, values in history.items()
        if name != "epoch"
    }
    return Snapshot(at, run.config.task, params, [run.data()], [run.config], metrics)


def measure_run(run: Run, measure: str | Measure) -> dict[str, float]:
    """The numbers of a measure of the end model; columns of the run table from then on.

    Args:
        run: A finished run.
        measure: A measure, or its name or reference.

    Raises:
        InputError: If it raises, needs other epochs or two runs, gives something else than one real number a column,
            or a column that the run has already from elsewhere.
    """
    chosen = _stored(measure)
    found = derived(run.store, run.key, _file(chosen), _version(chosen), lambda: _taken(run, chosen, None))
    return _numbers(found)


def measure_arrays(run: Run, measure: str | Measure) -> dict[str, NDArray[Any]]:
    """The arrays of a measure of the end model, such as a spectrum, kept beside the run.

    Args:
        run: A finished run.
        measure: As in :func:`measure_run`.

    Returns:
        An array by column; none if the measure gives numbers alone.
    """
    chosen = _stored(measure)
    return derived(run.store, run.key, f"arrays-{chosen.name}", _version(chosen), lambda: _arrays(run, chosen))


def measure_checkpoints(run: Run, measure: str | Measure) -> dict[str, NDArray[Any]]:
    """The numbers of a measure at every stored checkpoint.

    Args:
        run: A finished run.
        measure: As in :func:`measure_run`.

    Returns:
        ``epoch`` ``[n]`` and a column ``[n]`` for each number.
    """
    chosen = _stored(measure)
    epochs = run.checkpoint_epochs
    rows = [
        derived(
            run.store,
            run.key,
            f"{_file(chosen)}@{epoch}",
            _version(chosen),
            lambda epoch=epoch: _taken(run, chosen, epoch),  # type: ignore[misc]
        )
        for epoch in epochs
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: np.array([float(row.get(name, np.nan)) for row in rows]) for name in names}
    return {"epoch": np.array(epochs), **columns}


def compare_runs(run: Run, other: Run, measure: str | Measure) -> dict[str, float]:
    """The numbers of a measure that compares two end models, such as CKA; nothing is kept.

    Args:
        run: A finished run.
        other: Another one.
        measure: One that needs two runs.

    Raises:
        InputError: If it needs one run alone.
    """
    chosen = find_measure(measure) if isinstance(measure, str) else measure
    if Need.TWO_RUNS not in chosen.needs:
        raise InputError(f"measure {chosen.name} looks at one run: use measure_run")
    seen = chosen(snapshot_of(run), snapshot_of(other))  # type: ignore[call-arg]
    values = {name: value.values if isinstance(value, Dated) else value for name, value in seen.items()}
    return {name: float(checked_values(chosen.name, name, value, 1)) for name, value in values.items()}


def read_measure(run: Run, measure: str | Measure) -> dict[str, float] | None:
    """What :func:`measure_run` has kept, or None: nothing is computed."""
    chosen = _stored(measure)
    found = read_derived(run.store, run.key, _file(chosen), _version(chosen))
    return None if found is None else _numbers(found)


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
    return stack_fisher(snapshot_of(run), 0, parse_choice("fisher", fisher, MetricFisher))


def end_gradients(run: Run) -> Params:
    """Gradient of the mean loss on the whole train split at the end model, as a stack of one.

    Args:
        run: A finished run.
    """
    params, split = end_params(run), run.data()
    gradients = zeros_together(params)
    run.config.task.gradients(params, split.train_inputs[None], split.train_labels[None], gradients)
    return gradients


def end_llc(run: Run, rhos: Sequence[float] = coefficients.RHOS) -> list[coefficients.LLC]:
    """The local learning coefficients of the end model, with the traces of their chains: computed anew, minutes.

    What ``grokfast measure --llc`` keeps are their numbers; ``end_llc(run, (0.1,))[0].plot()`` draws a trace.

    Args:
        run: A finished run.
        rhos: The localities.
    """
    return end_coefficients(snapshot_of(run), rhos=rhos)


def end_measures(run: Run) -> dict[str, float]:
    """The standard measures of the end model: Gini coefficients, norms, and for Ising losses by sign.

    Args:
        run: A finished run.
    """
    return {name: value for measure in STANDARD for name, value in measure_run(run, measure).items()}


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
            f"  grokfast measure --runs {run.store.root}"
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


def measure_everything(run: Run) -> None:
    """Compute and keep every scalar and curve of a run that the figures and reports use."""
    end_measures(run)
    for scheme in (scheme for scheme in Scheme if not scheme.uses_gradients):
        for fisher in MetricFisher if scheme.uses_fisher else (MetricFisher.SOFTMAX,):
            end_pruning(run, scheme, fisher=fisher)
    for layer in layers(run):
        for scheme in (Scheme.LAYERWISE, Scheme.FISHER_LAYERWISE):
            end_pruning(run, scheme, layer)


def _stored(measure: str | Measure) -> Measure:
    chosen = find_measure(measure) if isinstance(measure, str) else measure
    for need, words in ((Need.PAST, "other epochs of the training"), (Need.TWO_RUNS, "two runs")):
        if need in chosen.needs:
            raise InputError(f"measure {chosen.name} needs {words}: it cannot be taken of a stored end model")
    return chosen


def _file(measure: Measure) -> str:
    return f"measure-{measure.name}"


def _version(measure: Measure) -> str:
    """What the kept numbers must have been computed by: of a measure of one's own also where it stands."""
    version = str(getattr(measure, "version", "1"))
    if MEASURES.get(measure.name) is measure and is_built_in(measure):
        return version
    kind = measure if hasattr(measure, "__qualname__") else type(measure)
    return f"{version} {kind.__module__}:{kind.__qualname__}"


def _numbers(kept: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    return {name: float(values) for name, values in kept.items() if name != KEPT_COLUMNS}


def _ends(run: Run, measure: Measure, epoch: int | None) -> Ends:
    """One look at a stored model, checked."""
    seen = Ends()
    try:
        seen.add(measure, snapshot_of(run, epoch))
    except (GrokfastError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"measure {measure.name} failed on run {run.key}: {type(error).__name__}: {error}") from error
    declared = {column.name for _, column in seen.columns}
    for name in (*seen.scalars, *(() if is_built_in(measure) else seen.arrays)):
        if name not in declared:
            raise InputError(f"measure {measure.name} gives {name!r}, but declares {sorted(declared)}")
    return seen


def _taken(run: Run, measure: Measure, epoch: int | None) -> dict[str, NDArray[Any]]:
    seen = _ends(run, measure, epoch)
    found = {
        name: np.asarray(checked_values(measure.name, name, values, 1).item()) for name, values in seen.scalars.items()
    }
    if epoch is not None:
        return found
    if not is_built_in(measure):
        _check_free(run, measure, list(found))
    described = [{**column.to_dict(), "measure": owner} for owner, column in seen.columns if column.name in found]
    return {**found, KEPT_COLUMNS: np.frombuffer(json.dumps(described).encode(), np.uint8)}


def _arrays(run: Run, measure: Measure) -> dict[str, NDArray[Any]]:
    return {name: values[0].detach().cpu().numpy() for name, values in _ends(run, measure, None).arrays.items()}


def _check_free(run: Run, measure: Measure, names: Sequence[str]) -> None:
    """Raise if a column of a run, or of another measure of its end model, has one of the names, also by case."""
    own = {column["name"] for column in run.record.get("columns", ()) if column.get("measure") == measure.name}
    taken = {*run.summary, *run.history, *RESERVED} - own
    taken |= kept_measures(run.store, run.key, but=_file(measure)).keys()
    taken |= {entry.name for entry in fields(run.config)}
    taken |= {entry.name for entry in fields(run.config.task)}  # type: ignore[arg-type]
    twins = {name.lower() for name in taken}
    for name in names:
        if name.lower() in twins:
            raise InputError(f"measure {measure.name} gives {name!r}, which run {run.key} has already: rename it")


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

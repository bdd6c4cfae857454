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
from numpy.typing import NDArray

import grokfast.learning_coefficient as coefficients
from grokfast.endmodel.curves import end_pruning, layers
from grokfast.endmodel.model import snapshot_of
from grokfast.errors import GrokfastError, InputError
from grokfast.geometry import MetricFisher
from grokfast.kept import KEPT_COLUMNS, kept_measures
from grokfast.observe import (
    MEASURES,
    RESERVED,
    Dated,
    Ends,
    Measure,
    Need,
    checked_values,
    end_coefficients,
    find_measure,
    is_built_in,
)
from grokfast.pruning import Scheme
from grokfast.runs import Run
from grokfast.store import derived, read_derived

STANDARD = ("gini", "gini_fisher", "norms", "sign_losses")
"""Measures of the end model that figures and reports read."""

LLC = ("llc", "quantisation_bits", "svd_rank")
"""The local learning coefficient, and what it is compared with: minutes a run."""


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

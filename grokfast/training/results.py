"""From a trained stack to what is stored of each member: record, history, arrays, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grokfast.errors import InputError
from grokfast.measures import Column, Kind, grokking_times, settled
from grokfast.observe import (
    COMPRESSIBILITY,
    ENDS,
    FEATURES,
    FULL_ENDS,
    FULL_TIMES,
    FULL_TRAIN,
    THRESHOLDS,
    TIMES,
    Ends,
    Measure,
    schedule_epochs,
)
from grokfast.observe import METRICS as METRIC_COLUMNS
from grokfast.tasks import Loss, loss_function_of
from grokfast.training.config import RunConfig
from grokfast.training.history import History
from grokfast.training.loop import METRICS, StackState
from grokfast.training.record import run_record

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class RunResult:
    """One finished run, ready to be stored.

    Attributes:
        key: Name of the run.
        record: JSON values: configuration, status, summary, versions, host.
        history: Columns ``[epochs]``; NaN where an observer did not look.
        tensors: ``checkpoints`` (``<epoch>/<parameter>``) and ``arrays`` (pruning curve, features by neuron,
            end state of the batch order's generator).
    """

    key: str
    record: Mapping[str, Any]
    history: Mapping[str, NDArray[Any]]
    tensors: Mapping[str, Arrays]


def stack_results(state: StackState, seconds: float, measures: Sequence[Measure] = ()) -> list[RunResult]:
    """The results of a stack after its last epoch.

    Args:
        state: The finished stack.
        seconds: Time it took, for the record.
        measures: Further measures of the end models, besides features and compressibility.

    Returns:
        One result a member.
    """
    snapshot = state.snapshot()
    seen = Ends()
    taken: list[Measure] = [FEATURES, COMPRESSIBILITY, *measures]
    for measure in taken:
        seen.add(measure, snapshot)
    ends, arrays = seen.scalars, {**seen.arrays, **state.arrays}
    columns = _columns(state, seen)
    last = {name: ends[name] for name in ends if columns[name]["kind"] == Kind.SCALAR}
    own = {n: looks[-1][1] for n, looks in state.observed.items() if n not in ends and looks[-1][0] == state.epoch}
    results = []
    for e, config in enumerate(state.configs):
        history = _history(state, e, last)
        diverged = state.diverged[e]
        summary = {
            **({} if diverged else _times(config, history)),
            **_chance(state.splits[e].test_labels),
            **{f"end_{name}": _plain(history[name][-1]) for name in state.history},
            **{name: _plain(values[e].item()) for name, values in {**ends, **own}.items()},
        }
        record = run_record(
            config,
            state.batches.device,
            status="diverged" if diverged else "finished",
            diverged_epoch=diverged or None,
            reason=f"the loss was not finite in epoch {diverged}" if diverged else None,
            summary=summary,
            columns=list(columns.values()),
            extended_at=state.extended_at,
            problems=dict(state.problems),
            seconds=seconds / len(state.configs),
            stacked_with=len(state.configs) - 1,
        )
        checkpoints = {
            f"{epoch}/{name}": tensor.cpu().numpy()
            for epoch, members in state.checkpoints.items()
            for name, tensor in members[e].items()
        }
        kept = {name: values[e].cpu().numpy() for name, values in arrays.items()}
        kept["order_generator"] = state.orders[e].get_state().numpy()
        results.append(RunResult(config.key, record, history, {"checkpoints": checkpoints, "arrays": kept}))
    return results


def failed_result(config: RunConfig, reason: str) -> RunResult:
    """The result of a run that could not be trained: no history, no model, and why.

    Args:
        config: The run.
        reason: One line.

    Returns:
        A result whose status is ``"failed"``.
    """
    record = run_record(config, status="failed", reason=reason, looks={})
    history = {"epoch": np.zeros(0, dtype=np.int64), **{name: np.zeros(0) for name in METRICS}}
    return RunResult(config.key, record, history, {})


def _columns(state: StackState, seen: Ends) -> dict[str, dict[str, Any]]:
    """What every column of these runs means, as the record tells it."""
    metrics: list[Column] = [*METRIC_COLUMNS, *ENDS, *TIMES]
    if FULL_TRAIN[0].name in state.history:
        metrics += [*FULL_TRAIN, *FULL_ENDS, *FULL_TIMES]
    loss = loss_function_of(state.configs[0].task)
    unit = loss.unit if isinstance(loss, Loss) else ""  # nothing is known of a loss of one's own
    found = [("metrics", replace(column, unit=unit) if column.unit == "nat" else column) for column in metrics]
    found += seen.columns
    described = {column.name: {**column.to_dict(), "measure": owner} for owner, column in found}
    for name in [*seen.scalars, *sorted(state.observed), *sorted(state.arrays)]:
        owner, column = state.columns.get(name, ("features", Column(name, f"{name} of the task's features")))
        described.setdefault(name, {**column.to_dict(), "measure": owner})
    return described


def _history(state: StackState, e: int, last: Mapping[str, Tensor]) -> History:
    columns: Arrays = {"epoch": np.arange(1, state.epoch + 1)}
    columns |= {name: series.rows[:, e].numpy().copy() for name, series in state.history.items()}
    sparse = {}
    # Sorted, since a resumed stack does not know in which order columns first came.
    ends = {name for name, (_, column) in state.columns.items() if column.kind is Kind.END}
    for name in dict.fromkeys([*last, *(name for name in sorted(state.observed) if name not in ends)]):
        looks = [*state.observed.get(name, []), *([(state.epoch, last[name])] if name in last else [])]
        sparse[name] = [epoch for epoch, _ in looks], np.array([values[e].item() for _, values in looks])
    return History(columns, sparse, state.epoch)


def _chance(labels: Tensor) -> dict[str, float]:
    if labels.is_floating_point():
        return {}
    return {"chance": torch.bincount(labels.flatten()).max().item() / labels.numel()}


def _times(config: RunConfig, history: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"test_looks": ",".join(config.looks()["test"])}
    tested = np.array(sorted(schedule_epochs(config.test_schedule, config.epochs) | {config.epochs}))
    test = history["test_accuracy"][tested - 1]
    for kind in ("", "_full"):
        for suffix, threshold in THRESHOLDS.items() if f"train_accuracy{kind}" in history else ():
            try:
                times = grokking_times(history[f"train_accuracy{kind}"], test, threshold, test_epochs=tested)
            except InputError:
                return {}  # never above zero: no learning time is defined, and none is recorded
            for name in ("t_train", "t_grok", "groks"):
                found[f"{name}{suffix}{kind}"] = getattr(times, name)
            found[f"t_test{suffix}"] = times.t_test
            if not kind and not suffix:
                found["plateau_end"] = times.plateau_end
                found["settled"] = settled(history["train_accuracy"]) and settled(test, tested)
    return found


def _plain(value: float) -> float | None:
    """JSON has no NaN or infinity."""
    return value if math.isfinite(value) else None

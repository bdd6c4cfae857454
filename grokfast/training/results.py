"""From a trained stack to what is stored of each member: record, history, arrays, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from grokfast.errors import InputError
from grokfast.measures import grokking_times, weight_norm
from grokfast.pruning import compressibility, pruning_fractions, size_at_drop
from grokfast.training.config import RunConfig
from grokfast.training.history import History
from grokfast.training.loop import METRICS, StackState
from grokfast.training.observers import stack_pruning_curve
from grokfast.training.record import run_record
from grokfast.training.schedule import schedule_epochs

Arrays = dict[str, NDArray[Any]]

THRESHOLDS = {"": 0.95, "_90": 0.9}
"""Suffix of the summary's grokking times, and the share of the maximum they are taken at."""


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


def stack_results(
    state: StackState,
    seconds: float,
    more_ends: Mapping[str, Tensor] | None = None,
    more_arrays: Mapping[str, Tensor] | None = None,
) -> list[RunResult]:
    """The results of a stack after its last epoch.

    Args:
        state: The finished stack.
        seconds: Time it took, for the record.
        more_ends: Further values ``[E]`` for the summary.
        more_arrays: Further arrays ``[E, ...]`` of the end models.

    Returns:
        One result a member.
    """
    fractions = pruning_fractions()
    snapshot = state.snapshot()
    curves = stack_pruning_curve(snapshot, fractions)
    features = state.configs[0].task.features(state.params, snapshot.test_inputs())
    ends: dict[str, Tensor] = {
        "compressibility": compressibility(fractions, curves),
        "size_at_5_percent_drop": size_at_drop(fractions, curves),
        "weight_norm": weight_norm(state.params),
        **features.scalars,
        **(more_ends or {}),
    }
    arrays = {"pruning_accuracy": curves, **features.arrays, **(more_arrays or {})}
    results = []
    for e, config in enumerate(state.configs):
        looked = ("compressibility", "weight_norm", *features.scalars)
        history = _history(state, e, {name: ends[name] for name in looked})
        diverged = state.diverged[e]
        summary = {
            **({} if diverged else _times(config, history)),
            **{f"end_{name}": _plain(history[name][-1]) for name in METRICS},
            **{name: _plain(values[e].item()) for name, values in ends.items()},
        }
        record = run_record(
            config,
            state.batches.device,
            status="diverged" if diverged else "finished",
            diverged_epoch=diverged or None,
            reason=f"the loss was not finite in epoch {diverged}" if diverged else None,
            summary=summary,
            seconds=seconds / len(state.configs),
            stacked_with=len(state.configs) - 1,
        )
        checkpoints = {
            f"{epoch}/{name}": tensor.cpu().numpy()
            for epoch, members in state.checkpoints.items()
            for name, tensor in members[e].items()
        }
        own = {name: values[e].cpu().numpy() for name, values in arrays.items()}
        own["pruning_fractions"] = fractions.numpy()
        own["order_generator"] = state.orders[e].get_state().numpy()
        results.append(RunResult(config.key, record, history, {"checkpoints": checkpoints, "arrays": own}))
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


def _history(state: StackState, e: int, last: Mapping[str, Tensor]) -> History:
    columns: Arrays = {"epoch": np.arange(1, state.epoch + 1)}
    columns |= {name: state.history[name].rows[:, e].numpy().copy() for name in METRICS}
    sparse = {}
    # Sorted, since a resumed stack does not know in which order columns first came.
    for name in dict.fromkeys([*last, *sorted(state.observed)]):
        looks = [*state.observed.get(name, []), *([(state.epoch, last[name])] if name in last else [])]
        sparse[name] = [epoch for epoch, _ in looks], np.array([values[e].item() for _, values in looks])
    return History(columns, sparse, state.epoch)


def _times(config: RunConfig, history: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"test_looks": ",".join(config.looks()["test"])}
    tested = np.array(sorted(schedule_epochs(config.test_schedule, config.epochs) | {config.epochs}))
    train, test = history["train_accuracy"], history["test_accuracy"][tested - 1]
    for suffix, threshold in THRESHOLDS.items():
        try:
            times = grokking_times(train, test, threshold, test_epochs=tested)
        except InputError:
            return {}  # never above zero: no learning time is defined, and none is recorded
        found |= {
            f"t_train{suffix}": times.t_train,
            f"t_test{suffix}": times.t_test,
            f"t_grok{suffix}": times.t_grok,
            f"groks{suffix}": times.groks,
            "plateau_end": times.plateau_end,
        }
    return found


def _plain(value: float) -> float | None:
    """JSON has no NaN or infinity."""
    return value if math.isfinite(value) else None

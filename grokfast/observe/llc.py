"""The local learning coefficient of a stack: a curve over rho, by the paper's recipe, and on fresh snapshots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from grokfast.errors import InputError
from grokfast.learning_coefficient import (
    LLC,
    RHOS,
    Curvature,
    LossFunction,
    Mala,
    Settings,
    StackedDensity,
    Status,
    curvature_of,
    estimate_curve,
    recipe,
)
from grokfast.measures import Column
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import Ising, Loss, Split, Task, fresh_module, mean_loss

_DEFAULT_RHO = 0.1
_STATUSES = ", ".join(f"{status.number} {status}" for status in Status)
_POPULATION_SEED = 1_000_003  # added to that of the snapshots trained on


_DIAGNOSTIC = re.compile(
    r"llc(_paper|_population)?_(error|status|r_hat|samples|acceptance|drift|below|displacement|polish)(_.*)?"
)


def is_llc_diagnostic(name: str) -> bool:
    """Whether a column says how far a coefficient may be believed, and is none itself."""
    return _DIAGNOSTIC.fullmatch(name) is not None


class LlcMeasure:
    """The local learning coefficient on the training data at several localities, with its diagnostics.

    Args:
        rhos: The localities.
        sampling: Other lengths of the chains than by default.
    """

    name = "llc"
    needs = frozenset({Need.PARAMETERS, Need.DATA, Need.FISHER})
    cost = 10_000.0
    version = "1"

    def __init__(self, rhos: Sequence[float] = RHOS, sampling: Mala | None = None) -> None:
        self._rhos, self._sampling = tuple(rhos), sampling

    def columns(self, task: Task) -> Sequence[Column]:
        """For each rho the estimate, its error, its status and what that is told from; what polishing did."""
        tensors = [name for name, tensor in fresh_module(task).named_parameters() if tensor.dim() > 1]
        return list(_columns("llc", "", self._rhos, tensors))

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        rows = []
        for e in range(snapshot.members):
            rows.append(_row("llc", end_coefficients(snapshot, e, rhos=self._rhos, sampling=self._sampling)))
        return _stacked(rows)


class LlcPaperMeasure:
    """The estimate by the recipe of the paper's authors: one chain of SGLD, gamma = 1, step 1e-3, no polishing.

    Args:
        steps: Other than the recipe's 10,000.
    """

    name = "llc_paper"
    needs = frozenset({Need.PARAMETERS, Need.DATA, Need.FISHER})
    cost = 5_000.0
    version = "1"

    def __init__(self, steps: int | None = None) -> None:
        self._steps = steps

    def columns(self, task: Task) -> Sequence[Column]:
        """The estimate, its error, its status and what that is told from."""
        return list(_columns("llc_paper", "by the recipe of the paper's authors, gamma = 1, ", (_DEFAULT_RHO,), ()))

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        rows = []
        for e in range(snapshot.members):
            how = recipe("paper", len(snapshot.splits[e].train_labels), steps=self._steps)
            density, curvature = _density(snapshot, e, snapshot.splits[e])
            found = estimate_curve(density, curvature, sampling=how.sampling, settings=how.settings)[0]
            rows.append(_row("llc_paper", found))
        return _stacked(rows)


class LlcPopulationMeasure:
    """The local learning coefficient of the Ising task on fresh snapshots in place of those trained on.

    Args:
        rhos: The localities.
        sampling: Other lengths of the chains than by default.
        fresh: How many snapshots; n beta is 1,086 for 10,000.
    """

    name = "llc_population"
    needs = frozenset({Need.PARAMETERS, Need.DATA, Need.FISHER})
    cost = 100_000.0
    version = "1"

    def __init__(self, rhos: Sequence[float] = RHOS, sampling: Mala | None = None, fresh: int = 10_000) -> None:
        self._rhos, self._sampling, self._fresh = tuple(rhos), sampling, fresh

    def columns(self, task: Task) -> Sequence[Column]:
        """As ``llc``, of the Ising task; none of others, of which no fresh samples can be drawn."""
        if not isinstance(task, Ising):
            return []
        return list(_columns("llc_population", f"on {self._fresh:,} fresh snapshots, ", self._rhos, ()))

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look.

        Raises:
            InputError: If the snapshots come from a file: how to draw more of them is not known.
        """
        if not isinstance(snapshot.task, Ising):
            return {}
        fresh = fresh_snapshots(snapshot.task, self._fresh)
        rows = []
        for e in range(snapshot.members):
            found = end_coefficients(snapshot, e, split=fresh, rhos=self._rhos, sampling=self._sampling)
            rows.append(_row("llc_population", found))
        return _stacked(rows)


def end_coefficients(
    snapshot: Snapshot,
    member: int = 0,
    *,
    split: Split | None = None,
    rhos: Sequence[float] = RHOS,
    sampling: Mala | None = None,
) -> list[LLC]:
    """The local learning coefficients of one network of a stack, with their traces.

    Args:
        snapshot: The stack; the weight decay is that of the member's training, none if it does not know it.
        member: Which network.
        split: Data instead of its own, of which the training part is taken.
        rhos: The localities.
        sampling: Other lengths of the chains than by default.

    Returns:
        One a locality.
    """
    density, curvature = _density(snapshot, member, split or snapshot.splits[member])
    decay = snapshot.configs[member].weight_decay if snapshot.configs else 0.0
    return estimate_curve(density, curvature, rhos=rhos, sampling=sampling, settings=Settings(weight_decay=decay))[0]


def fresh_snapshots(task: Ising, count: int = 10_000) -> Split:
    """Snapshots that no run of a task has seen, half of each phase, as its training split.

    Args:
        task: Which; their dynamics and temperatures are its own.
        count: How many, even.

    Raises:
        InputError: If the task's snapshots come from a file.
    """
    if task.data_file:
        raise InputError("fresh snapshots can be drawn of an Ising task that samples its own, but this one has a file")
    each = -(-2 * count // task.temperatures)  # enough of each phase, however the temperatures fall
    fresh = replace(
        task,
        data_seed=task.data_seed + _POPULATION_SEED,
        snapshots=each,
        train_size=count,
        test_size=2,
        label_noise=0.0,
        stratified=True,
    )
    return fresh.split(0)


def _density(snapshot: Snapshot, member: int, split: Split) -> tuple[StackedDensity, Curvature]:
    """The loss of one member on the training part of a split, and its curvature."""
    task = snapshot.task
    params = {name: tensor[member : member + 1].detach().cpu() for name, tensor in snapshot.params.items()}
    density = StackedDensity(task, params, split.train_inputs[None], split.train_labels[None])
    kind = getattr(task, "loss_function", Loss.CROSS_ENTROPY)

    def own(outputs: Tensor, labels: Tensor) -> Tensor:
        return mean_loss(kind, outputs, labels)

    known: dict[object, LossFunction] = {
        Loss.CROSS_ENTROPY: functional.cross_entropy,
        Loss.MEAN_SQUARED_ERROR: functional.mse_loss,
    }
    inputs = task.encode(split.train_inputs, next(iter(params.values())).dtype)
    model = snapshot.model(member).cpu()
    return density, curvature_of(model, known.get(kind, own), inputs, density)


def _suffix(rho: float) -> str:
    return "" if rho == _DEFAULT_RHO else f"_rho_{rho:g}".replace(".", "_")


def _columns(name: str, of: str, rhos: Sequence[float], tensors: Sequence[str]) -> Iterator[Column]:
    for rho in rhos:
        end, at = _suffix(rho), of + (f"rho = {rho:g}" if len(rhos) > 1 else "")
        at = at.rstrip(", ")
        label = f"local learning coefficient, {at}"
        yield Column(f"{name}{end}", f"local learning coefficient, {at}", label=label, headline=not end)
        yield Column(f"{name}_error{end}", f"standard error of {name}{end}")
        yield Column(f"{name}_status{end}", f"whether {name}{end} may be believed: {_STATUSES}")
        yield Column(f"{name}_r_hat{end}", f"split R-hat of the chains of {name}{end}")
        yield Column(f"{name}_samples{end}", f"effective samples of {name}{end}")
        yield Column(f"{name}_acceptance{end}", f"share of proposals accepted for {name}{end}; NaN for SGLD")
        yield Column(f"{name}_drift{end}", f"z of the later half's mean minus the earlier's, of {name}{end}")
        yield Column(f"{name}_below{end}", f"share of the samples of {name}{end} with a loss below that of w*")
        yield Column(f"{name}_displacement{end}", f"largest |w - w*| / |w*| of a weight tensor, of {name}{end}")
        for tensor in tensors:
            yield Column(
                f"{name}_displacement_{tensor.replace('.', '_')}{end}", f"|w - w*| / |w*| of {tensor}, of {name}{end}"
            )
    yield Column(f"{name}_polish_change", f"n beta times what polishing changed the loss by, before {name}")
    yield Column(f"{name}_polish_gradients", f"gradients that polishing took before {name}")


def _row(name: str, found: Sequence[LLC]) -> dict[str, float]:
    """What a network's estimates say, by column."""
    row: dict[str, float] = {}
    for one in found:
        end = "" if one.rho is None else _suffix(one.rho)
        weights = {key: value for key, value in one.displacement.items() if key in one.weights}
        row |= {
            f"{name}{end}": one.value,
            f"{name}_error{end}": one.standard_error,
            f"{name}_status{end}": one.status.number,
            f"{name}_r_hat{end}": one.r_hat,
            f"{name}_samples{end}": one.effective_samples,
            f"{name}_acceptance{end}": one.acceptance,
            f"{name}_drift{end}": one.drift,
            f"{name}_below{end}": one.below,
            f"{name}_displacement{end}": one.furthest,
            f"{name}_polish_change": one.polish_change,
            f"{name}_polish_gradients": one.polish_gradients,
        }
        if name == "llc":
            row |= {f"{name}_displacement_{key.replace('.', '_')}{end}": value for key, value in weights.items()}
    return row


def _stacked(rows: Sequence[dict[str, float]]) -> dict[str, Tensor]:
    return {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}

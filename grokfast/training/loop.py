"""The stacked training loop: many networks of one architecture, trained together, measured while they train."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from threading import Event

import torch
from torch import Tensor

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError
from grokfast.measures import Column
from grokfast.models import Params, member, stack_members, zeros_together
from grokfast.observe import FULL_TRAIN, Observer, Snapshot, Watch, schedule_epochs
from grokfast.observe import METRICS as METRIC_COLUMNS
from grokfast.tasks import Split, check_network, check_splits, evaluate, stream
from grokfast.training.choices import TrainMetrics
from grokfast.training.config import RunConfig
from grokfast.training.history import Series
from grokfast.training.observing import built_in_observers
from grokfast.training.optimizers import OptimizerState, fused_epochs, initial_state
from grokfast.training.steps import Part, parts_of, train_pass

ON_DEVICE = 64
"""Epochs between two looks of the host at a stack on a GPU, at most."""

METRICS = tuple(column.name for column in METRIC_COLUMNS)
FULL_METRICS = tuple(column.name for column in FULL_TRAIN)


class Interrupted(Exception):  # noqa: N818 - not an error: the caller asked for it
    """Training was asked to stop before its last epoch."""


@dataclass
class StackState:
    """The whole state of a stack in training: with it the run can be cut anywhere between epochs.

    Attributes:
        configs: The members' configurations, equal in ``stack_key``.
        splits: The members' data.
        params: Stacked parameters ``[E, ...]``.
        gradients: Buffers of the same shapes and strides; overwritten in every step.
        optimizer: Moments, rates and the active mask.
        orders: Generators of the members' batch orders.
        batches: int64 ``[E, n_train]``: this epoch's order of the training samples.
        epoch: Epochs finished.
        extended_at: Epoch at which it was taken up from the end of shorter runs; 0 if it was trained from the start.
        diverged: For each member the epoch at which it was frozen, 0 if it was not.
        history: By metric a series of ``[E]``, one row an epoch; NaN where there was no test pass.
        observed: By column, the epochs looked at and the ``[E]`` values.
        columns: What the observed columns mean, by name.
        problems: Columns whose measure failed, with what happened.
        arrays: What measures keep of the end models, ``[E, ...]`` by column.
        checkpoints: Parameters of each member by epoch.
        train: The members' training data ``[E, n_train, ...]`` in this epoch's order, made when needed.
        test: Their test data ``[E, n_test, ...]``, made when needed.
        stride: Epochs since the host looked before; more than one on a GPU alone.
    """

    configs: Sequence[RunConfig]
    splits: Sequence[Split]
    params: Params
    gradients: Params
    optimizer: OptimizerState
    orders: list[torch.Generator]
    batches: Tensor
    epoch: int = 0
    extended_at: int = 0
    diverged: list[int] = field(default_factory=list)
    history: dict[str, Series] = field(default_factory=lambda: {name: Series() for name in METRICS})
    observed: dict[str, list[tuple[int, Tensor]]] = field(default_factory=dict)
    columns: dict[str, tuple[str, Column]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    checkpoints: dict[int, list[Params]] = field(default_factory=dict)
    train: tuple[Tensor, Tensor] | None = None
    test: tuple[Tensor, Tensor] | None = None
    stride: int = 1

    def parts(self) -> list[Part]:
        """The members as they step: together or one by one, as the task has it."""
        known = self.__dict__.get("_parts")  # made from the fields, and no part of the state
        if known is None or known[0] is not self.params or known[1] is not self.optimizer:
            one_by_one = self.configs[0].task.member_by_member
            known = self.params, self.optimizer, parts_of(self.params, self.gradients, self.optimizer, one_by_one)
            self.__dict__["_parts"] = known
        return typing.cast("list[Part]", known[2])

    def snapshot(self) -> Snapshot:
        """The view that observers get."""
        metrics = {name: values[-1] for name, values in self.history.items() if len(values)}
        metrics |= {name: looks[-1][1] for name, looks in self.observed.items() if looks[-1][0] == self.epoch}
        return Snapshot(self.epoch, self.configs[0].task, self.params, self.splits, self.configs, metrics)


def initial_stack(configs: Sequence[RunConfig], device: str | torch.device = "cpu") -> StackState:
    """Data, parameters and optimiser state of a stack before its first epoch.

    Args:
        configs: One a member; they may differ in w0, seed, learning rate, weight decay and label noise only.
        device: Where to train.

    Returns:
        The state.

    Raises:
        ConfigError: If the configurations cannot share a stack.
    """
    check_at_least("number of configurations", len(configs), 1, error=ConfigError)
    if len({config.stack_key for config in configs}) > 1:
        raise ConfigError(
            "members of a stack may differ in w0, seed, learning_rate, weight_decay and label_noise only; "
            "train the others in stacks of their own (train_runs groups them)"
        )
    drawn_splits = [config.task.split(config.seed) for config in configs]
    check_splits(configs[0].task, drawn_splits)
    splits = [_to(split, device) for split in drawn_splits]
    drawn = stack_members(
        [config.task.initial(config.seed, config.w0, config.precision.dtype) for config in configs],
        configs[0].task.input_major,
    )
    params = zeros_together({name: tensor.to(device) for name, tensor in drawn.items()})
    for name, tensor in params.items():
        tensor.copy_(drawn[name])
    check_network(configs[0].task, splits[0], params)
    orders = [stream(config.seed, "order") for config in configs]
    return StackState(
        configs=configs,
        splits=splits,
        params=params,
        gradients=zeros_together(params),
        optimizer=initial_state(configs, params),
        orders=orders,
        batches=_draw_order(splits, orders),
        diverged=[0] * len(configs),
        history={name: Series() for name in _history_names(configs[0])},
    )


def _history_names(config: RunConfig) -> tuple[str, ...]:
    return (*METRICS, *FULL_METRICS) if config.train_metrics is TrainMetrics.FULL else METRICS


def run_epochs(
    state: StackState,
    observers: Sequence[Observer] = (),
    on_epoch: Callable[[StackState], None] | None = None,
    stop: Event | None = None,
) -> None:
    """Train to the last epoch, in place.

    Args:
        state: From :func:`initial_stack`, or as an earlier call left it.
        observers: Further observers besides the configuration's own.
        on_epoch: Called after every epoch. On a GPU one with a true attribute ``reads_only`` is called when the host
            looks at the stack: after :data:`ON_DEVICE` epochs at most, and whenever something is measured or kept.
        stop: When set, training ends after the epoch in hand, on a GPU when the host looks next.

    Raises:
        Interrupted: If ``stop`` was set before the last epoch.
    """
    config = state.configs[0]
    watch = Watch([*built_in_observers(config), *observers], config.epochs, problems=dict(state.problems))
    if state.epoch < config.epochs:
        watch.prepare(state.snapshot())
        _remember(state, watch)
    keeps = schedule_epochs(config.checkpoint_schedule, config.epochs) | {config.epochs}
    tests = schedule_epochs(config.test_schedule, config.epochs) | {config.epochs}
    most = ON_DEVICE if reads_only(on_epoch) and not state.batches.is_cpu else 1
    while state.epoch < config.epochs:
        state.stride = 1
        while state.stride < most and not (
            state.epoch + state.stride in keeps or watch.due(state.epoch + state.stride)
        ):
            state.stride += 1
        _train_epochs(state, tests)
        if watch.due(state.epoch):
            for name, look in watch.look(state.snapshot()).items():
                state.observed.setdefault(name, []).append(look)
            _remember(state, watch)
        if state.epoch in keeps:
            state.checkpoints[state.epoch] = [member(state.params, e) for e in range(len(state.configs))]
        if on_epoch is not None:
            on_epoch(state)
        if stop is not None and stop.is_set() and state.epoch < config.epochs:
            raise Interrupted(f"stopped after epoch {state.epoch} of {config.epochs}")


def reads_only(callback: Callable[[StackState], None] | None) -> bool:
    """Whether a callback says that it changes nothing; none changes nothing."""
    return callback is None or getattr(callback, "reads_only", False)


def _remember(state: StackState, watch: Watch) -> None:
    state.problems |= watch.problems
    state.columns |= watch.columns
    state.arrays |= watch.arrays


def _train_epochs(state: StackState, tests: Collection[int]) -> None:
    """The epochs of a stride; what they gave comes to the host at their end, in one transfer."""
    config, first = state.configs[0], state.epoch + 1
    at_once = 1 if config.reshuffle else state.stride
    found: list[Tensor] = []
    while state.epoch < first + state.stride - 1:
        if config.reshuffle and state.epoch:
            state.batches, state.train = _draw_order(state.splits, state.orders), None
        if state.train is None:
            state.train = _ordered(state.splits, state.batches)
        rows = _fused_epochs(state, tests, at_once)
        found.append(_train_epoch(state, tests)[None] if rows is None else rows)
    for epoch, (*values, active) in enumerate(torch.cat(found).cpu(), start=first):
        for series, row in zip(state.history.values(), values, strict=True):
            series.append(row)
        for e, on in enumerate(active.tolist()):
            if not on and not state.diverged[e]:
                state.diverged[e] = epoch


def _fused_epochs(state: StackState, tests: Collection[int], count: int) -> Tensor | None:
    """As many epochs in one operation, with a row of :func:`_train_epoch` for each, where task and device can."""
    config = state.configs[0]
    if state.batches.is_cpu or config.train_metrics is TrainMetrics.FULL:
        return None
    assert state.train is not None
    if state.test is None:
        state.test = _stacked_tests(state.splits)
    tested = [epoch in tests for epoch in range(state.epoch + 1, state.epoch + 1 + count)]
    found = fused_epochs(config, state.params, state.optimizer, (state.train, state.test), tested)
    if found is None:
        return None
    state.epoch += count
    losses, correct = found
    unseen = losses.isnan()
    accuracies = [
        hits.double() / labels.shape[1] for hits, (_, labels) in zip(correct, (state.train, state.test), strict=True)
    ]
    seen = [losses[0], accuracies[0].masked_fill_(unseen[0], torch.nan)]
    seen += [losses[1], accuracies[1].masked_fill_(unseen[1], torch.nan)]
    return torch.stack([*seen, (~unseen[0]).double()], dim=1)


def _train_epoch(state: StackState, tests: Collection[int]) -> Tensor:
    """One epoch: its metrics ``[E]`` in the order of the history, NaN where a member is frozen, and who is active."""
    config = state.configs[0]
    assert state.train is not None
    inputs, labels = state.train
    samples = labels.shape[1]
    loss_sum, correct = train_pass(config, state.parts(), state.optimizer, inputs, labels)
    state.epoch += 1
    metrics = dict(zip(METRICS, (loss_sum / samples, correct / samples), strict=False))
    if config.train_metrics is TrainMetrics.FULL:
        seen = evaluate(config.task, state.params, inputs, labels)
        metrics |= dict(zip(FULL_METRICS, seen, strict=True))
    if state.epoch in tests:
        if state.test is None:
            state.test = _stacked_tests(state.splits)
        metrics["test_loss"], metrics["test_accuracy"] = evaluate(config.task, state.params, *state.test)
        state.optimizer.active &= metrics["test_loss"].isfinite()
    else:
        metrics["test_loss"] = metrics["test_accuracy"] = torch.full_like(loss_sum, torch.nan)
    active = state.optimizer.active
    row = torch.stack([*(metrics[name] for name in state.history), active.double()])
    row[:-1].masked_fill_(active == 0, torch.nan)
    return row


def _draw_order(splits: Sequence[Split], orders: Sequence[torch.Generator]) -> Tensor:
    rows = [
        torch.randperm(len(split.train_labels), generator=order) for split, order in zip(splits, orders, strict=True)
    ]
    return torch.stack(rows).to(splits[0].train_labels.device)


def _ordered(splits: Sequence[Split], batches: Tensor) -> tuple[Tensor, Tensor]:
    inputs = torch.stack([split.train_inputs[order] for split, order in zip(splits, batches, strict=True)])
    labels = torch.stack([split.train_labels[order] for split, order in zip(splits, batches, strict=True)])
    return inputs, labels


def _stacked_tests(splits: Sequence[Split]) -> tuple[Tensor, Tensor]:
    return torch.stack([split.test_inputs for split in splits]), torch.stack([split.test_labels for split in splits])


def _to(split: Split, device: str | torch.device) -> Split:
    return Split(*(getattr(split, name).to(device) for name in Split.__dataclass_fields__))

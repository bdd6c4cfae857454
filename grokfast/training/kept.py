"""States of finished runs, kept on request: from them runs of more epochs go on instead of training from the start."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from grokfast.errors import ConfigError, StoreError
from grokfast.models import Params
from grokfast.observe import LooksAround, Remembers, measure_name, schedule_epochs, union
from grokfast.store import Store
from grokfast.training.config import RunConfig
from grokfast.training.history import Series
from grokfast.training.loop import StackState, initial_stack
from grokfast.training.observing import asked_observers
from grokfast.training.optimizers import OptimizerState, remembered
from grokfast.training.rates import RateDecay
from grokfast.training.record import versions
from grokfast.training.state import load_state, save_state, saved_configs

STATES = ".states"
"""Folder of a store that holds the kept states, by key."""

_ENVIRONMENT = ("torch", "instruction_set", "engine")
_EVERY_LOOK_COUNTS = ("test", "full_train")  # learning times are taken from these


@dataclass(frozen=True)
class Parent:
    """A shorter run of the same training.

    Attributes:
        key: Its name.
        epochs: Its length.
        config: What it was trained and looked at with, when its state was kept.
    """

    key: str
    epochs: int
    config: RunConfig


class KeptStates:
    """The kept states of a store's runs.

    Args:
        store: The store.
        keep: Whether stacks that finish leave their members' states.
        device: Where stacks train: a state goes on only with the versions that its run was trained with.
    """

    def __init__(self, store: Store, keep: bool = False, device: str | torch.device = "cpu") -> None:
        self.store = store
        self.keep = keep
        self._versions = versions(device)

    def folder(self, key: str) -> Path:
        """Where the state of a run lies."""
        return self.store.root / STATES / key

    def save(self, state: StackState) -> None:
        """Keep the state of each member of a finished stack, if that was asked for.

        Raises:
            StoreError: If it cannot be written.
        """
        for e, config in enumerate(state.configs if self.keep else ()):
            save_state(_alone(state, e), self.folder(config.key))

    def parent(self, config: RunConfig) -> tuple[Parent | None, str]:
        """The longest shorter run that a configuration can go on from, and why not from the longest there is.

        Returns:
            None without a reason if the store holds no shorter run of the same training.
        """
        reason = ""
        for length, key in reversed(self.store.relatives(config.family)):
            if length >= config.epochs:
                continue
            found, why = self._usable(config, key, length)
            reason = reason or why
            if found is not None:
                return found, reason
        return None, reason

    def extended_at(self, config: RunConfig) -> int:
        """Epochs of the parent's state; 0 without one."""
        found, _ = self.parent(config)
        return 0 if found is None else found.epochs

    def begin(self, configs: Sequence[RunConfig], device: str | torch.device) -> StackState:
        """A stack at the end of its members' parents, if all have parents of one length; otherwise at its start."""
        found = [self.parent(config)[0] for config in configs]
        parents = [parent for parent in found if parent is not None]
        if len(parents) < len(configs) or len({parent.epochs for parent in parents}) > 1:
            return initial_stack(configs, device)
        states = [self._state(parent, device) for parent in parents]
        sound = [state for state in states if state is not None]
        return _joined(configs, sound, device) if len(sound) == len(states) else initial_stack(configs, device)

    def _usable(self, config: RunConfig, key: str, length: int) -> tuple[Parent | None, str]:
        """A shorter run as parent, or why it cannot be one."""
        try:
            record, saved = self.store.record(key), saved_configs(self.folder(key))
        except (StoreError, ConfigError) as error:
            return None, f"the state of {key} cannot be read: {error}"
        if saved is None:
            return None, f"the state of {key} ({length} epochs) was not kept"
        ours, theirs = self._versions, record["versions"]
        other = next((name for name in _ENVIRONMENT if ours.get(name) != theirs.get(name)), None)
        if other is not None:
            return None, f"{key} was trained with {other} {theirs.get(other)}, and this is {ours.get(other)}"
        missed = _missed(config, saved[0])
        return (None, f"{key} has not looked at {missed}") if missed else (Parent(key, length, saved[0]), "")

    def _state(self, parent: Parent, device: str | torch.device) -> StackState | None:
        try:
            found = load_state([parent.config], self.folder(parent.key), device)
            stored = self.store.tensors(parent.key, "checkpoints")
        except StoreError:
            return None
        if found is None or found[0].epoch != parent.epochs:
            return None
        state = found[0]
        for name, values in stored.items():
            epoch, parameter = name.split("/", 1)
            state.checkpoints.setdefault(int(epoch), [{}])[0][parameter] = torch.from_numpy(values)
        return state


def check_extendable(configs: Sequence[RunConfig]) -> None:
    """Raise if the states of runs are to be kept that no longer run can go on from.

    Raises:
        ConfigError: If the learning rate of one decays: its number of epochs is part of its training.
    """
    for config in configs:
        if config.rate_decay is not RateDecay.NONE:
            raise ConfigError(
                f"a run with rate_decay {config.rate_decay.value!r} cannot be extended: its learning rate reaches its "
                "end with its last epoch. Leave rate_decay or the keeping of states away"
            )


def prune_states(store: Store, keys: Collection[str] | None = None) -> tuple[int, int]:
    """Remove kept states; a longer run of theirs is trained from the start then, and what is stored stays.

    Args:
        store: The store.
        keys: Keys of the runs whose states go; by default all, those of runs that are no longer stored too.

    Returns:
        How many states were removed, and the bytes that they took.

    Raises:
        StoreError: If there is no such store, or one cannot be removed.
    """
    store.check_readable()
    removed = freed = 0
    for folder in sorted((store.root / STATES).glob("*")):
        if keys is not None and folder.name not in keys:
            continue
        try:
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            gone = folder if folder.name.startswith(".tmp-") else folder.with_name(f".tmp-{folder.name}")
            folder.rename(gone)  # whoever looks for it meanwhile finds a whole state or none
            shutil.rmtree(gone)
        except OSError as error:
            raise StoreError(f"the kept state {folder} could not be removed: {error}") from error
        removed += 1
        freed += size
    return removed, freed


def _missed(config: RunConfig, parent: RunConfig) -> str:
    """The look that a parent's state lacks for a longer run; empty if there is none.

    Test passes must have been taken at every epoch that the longer run asks for; of other looks the same schedule is
    enough: ``log:50`` of the parent up to its end, and of the whole run from there.
    """
    if config.geometry:
        return "geometry as a longer run does, whose steps it has to remember"
    for observer in asked_observers(config):
        measure: object = observer.measure
        if isinstance(measure, Remembers | LooksAround):
            return f"{measure_name(measure)}, which has to remember the path"
    held = parent.looks()
    for name, at in config.looks().items():
        if name not in held:
            return name
        if name not in _EVERY_LOOK_COUNTS and set(at) - {"last"} <= set(held[name]):
            continue
        seen = schedule_epochs(union(held[name]), parent.epochs) | {parent.epochs}
        wanted = {epoch for epoch in schedule_epochs(union(at), config.epochs) if epoch <= parent.epochs}
        if not wanted <= seen:
            return f"{name} at {','.join(at)}"
    return ""


def _alone(state: StackState, e: int) -> StackState:
    """One member of a finished stack; its checkpoints are those of the stored run."""
    rows, optimizer = slice(e, e + 1), state.optimizer
    return StackState(
        configs=[state.configs[e]],
        splits=[state.splits[e]],
        params=_rows(state.params, rows),
        gradients=_rows(state.gradients, rows),
        optimizer=OptimizerState(
            moments=[[tensor[rows] for tensor in group] for group in optimizer.moments],
            learning_rate=optimizer.learning_rate[rows],
            weight_decay=optimizer.weight_decay[rows],
            active=optimizer.active[rows],
            memory=[[tensor[rows] for tensor in group] for group in optimizer.memory],
            step=optimizer.step,
        ),
        orders=[state.orders[e]],
        batches=state.batches[rows],
        epoch=state.epoch,
        extended_at=state.extended_at,
        diverged=[state.diverged[e]],
        history={name: Series(series.rows[:, rows]) for name, series in state.history.items()},
        observed={name: [(epoch, values[rows]) for epoch, values in looks] for name, looks in state.observed.items()},
        columns=state.columns,
        problems=state.problems,
    )


def _rows(params: Mapping[str, Tensor], rows: slice) -> Params:
    return {name: tensor[rows] for name, tensor in params.items()}


def _joined(configs: Sequence[RunConfig], parts: Sequence[StackState], device: str | torch.device) -> StackState:
    """A stack of longer runs at the end of their parents, each a state of one member."""
    state, first = initial_stack(configs, device), parts[0]
    for e, part in enumerate(parts):
        pairs = [(state.params[name], tensor) for name, tensor in part.params.items()]
        for moments, others in zip(state.optimizer.moments, part.optimizer.moments, strict=True):
            pairs += zip(moments, others, strict=True)
        kept = remembered(part.optimizer)
        pairs += [(tensor, kept[name]) for name, tensor in remembered(state.optimizer).items()]
        pairs += [(state.optimizer.active, part.optimizer.active), (state.batches, part.batches)]
        for ours, theirs in pairs:
            ours[e].copy_(theirs[0])
        state.orders[e].set_state(part.orders[0].get_state())
    state.optimizer.step = first.optimizer.step
    state.epoch = state.extended_at = first.epoch
    state.diverged = [part.diverged[0] for part in parts]
    for name in state.history:
        state.history[name] = Series(torch.cat([part.history[name].rows for part in parts], 1))
    if first.epoch not in schedule_epochs(configs[0].test_schedule, configs[0].epochs):
        for name in ("test_loss", "test_accuracy"):  # the parents' last epoch always has one
            state.history[name].rows[-1] = torch.nan
    for name in first.observed:
        looks = [dict(part.observed.get(name, [])) for part in parts]
        state.observed[name] = [
            (epoch, torch.cat([look[epoch] for look in looks]))
            for epoch, _ in first.observed[name]
            if all(epoch in look for look in looks)
        ]
    for part in parts:
        state.columns |= part.columns
        state.problems |= part.problems
    wanted = schedule_epochs(configs[0].checkpoint_schedule, configs[0].epochs)
    for epoch in [epoch for epoch in wanted if all(epoch in part.checkpoints for part in parts)]:
        state.checkpoints[epoch] = [part.checkpoints[epoch][0] for part in parts]
    return state


def told(configs: Sequence[RunConfig], kept: KeptStates) -> list[str]:
    """What becomes of runs that are longer than stored ones of the same training, in sentences.

    Args:
        configs: Runs that are to be trained.
        kept: The kept states of their store.
    """
    going_on, anew = 0, Counter[str]()
    for config in configs:
        found, reason = kept.parent(config)
        going_on += found is not None
        if found is None and reason:
            anew[reason] += 1
    lines = [f"{going_on} of them go on from the kept states of shorter ones"] if going_on else []
    more = list(anew.items())
    lines += [f"trained from the start, though there is a shorter run: {reason}" for reason, _ in more[:3]]
    if len(more) > 3:
        lines.append(f"and {sum(count for _, count in more[3:])} more likewise (--keep-state keeps states)")
    return lines

"""Saving and restoring the whole state of a stack in training: safetensors and JSON, checksummed, no pickle.

Layout of a state folder::

    state-<epoch>.json             what cannot be in tensors, and the size and SHA-256 of each file it needs
    state-<epoch>.safetensors      parameters, moments, generators, orders, histories, observers' memories
    kept-<epoch>.safetensors       checkpoints taken since the save before, written once

The JSON file is written last, and it carries a checksum of itself: a state is there when its JSON file is.
The newest two states are kept, so that a damaged file costs the time between two saves and not the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from grokfast.errors import StoreError
from grokfast.measures import Column
from grokfast.observe import Observer, Remembers
from grokfast.store.atomic import write_atomically, write_sealed
from grokfast.store.identity import SCHEMA
from grokfast.training.choices import TrainMetrics
from grokfast.training.config import RunConfig
from grokfast.training.history import Series
from grokfast.training.loop import StackState, initial_stack
from grokfast.training.optimizers import remembered
from grokfast.training.statefiles import DamagedError, load_sealed, newest_record, read_record, remove_old, seal

STATE_FORMAT = 1
"""Version of this layout."""


def save_state(state: StackState, folder: Path, *, observers: Sequence[Observer] = (), seconds: float = 0.0) -> Path:
    """Save everything that the rest of the training depends on; older states but one are removed.

    Args:
        state: A stack between two epochs.
        folder: The state folder; made if it is missing. One process at a time may write it.
        observers: Observers besides the configuration's own; memories are saved of measures that
            :class:`Remembers` describes.
        seconds: Training time so far, for the record.

    Returns:
        The state's JSON file.

    Raises:
        StoreError: If it cannot be written; the states there stay.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = newest_record(folder, state.epoch)
        parts = [] if earlier is None else list(earlier["checkpoints"])
        parts += _keep_checkpoints(state, folder, {epoch for part in parts for epoch in part["epochs"]})
        tensors = folder / f"state-{state.epoch:08d}.safetensors"
        write_atomically(tensors, lambda draft: save_file(_tensors(state, observers), draft))
        record = {
            "format": STATE_FORMAT,
            "schema": SCHEMA,
            "epoch": state.epoch,
            "configs": [config.to_dict() for config in state.configs],
            "step": state.optimizer.step,
            "extended_at": state.extended_at,
            "diverged": state.diverged,
            "observed": {name: [epoch for epoch, _ in looks] for name, looks in state.observed.items()},
            "columns": {name: [owner, column.to_dict()] for name, (owner, column) in state.columns.items()},
            "problems": state.problems,
            "seconds": seconds,
            "torch": torch.__version__,
            "tensors": seal(tensors),
            "checkpoints": parts,
        }
        file = folder / f"state-{state.epoch:08d}.json"
        write_sealed(file, record)
        remove_old(folder, state.epoch)
    except (OSError, SafetensorError) as error:
        raise StoreError(
            f"the state after epoch {state.epoch} could not be saved to {folder}: {error}; the state saved before stays"
        ) from error
    return file


def load_state(
    configs: Sequence[RunConfig],
    folder: Path,
    device: str | torch.device = "cpu",
    *,
    observers: Sequence[Observer] = (),
    on_damage: Callable[[str], None] | None = None,
) -> tuple[StackState, float] | None:
    """The newest sound state of a stack.

    Args:
        configs: The configurations of the stack, as they were when it was saved.
        folder: The state folder.
        device: Where to go on training.
        observers: As given to :func:`save_state`; their memories are restored.
        on_damage: Told of each damaged file, by name.

    Returns:
        The state and the training time so far in seconds, or None if there is no sound state.

    Raises:
        StoreError: If the newest state was saved by a later version of grokfast, or belongs to other runs.
    """
    for file in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            record = read_record(file)
            _check_version(file, record)
            _check_configs(file, record, configs)
            return _restore(configs, folder, record, device, observers), float(record["seconds"])
        except DamagedError as error:
            if on_damage is not None:
                on_damage(str(error))
    return None


def saved_configs(folder: Path) -> list[RunConfig] | None:
    """The configurations that the newest sound state in a folder was saved with; None if there is none.

    Raises:
        StoreError: If a later version of grokfast saved it.
        ConfigError: If they hold a field or a value that no configuration has.
    """
    for file in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            record = read_record(file)
        except DamagedError:
            continue
        _check_version(file, record)
        return [RunConfig.from_dict(values) for values in record["configs"]]
    return None


def _tensors(state: StackState, observers: Sequence[Observer]) -> dict[str, Tensor]:
    tensors = {f"params/{name}": tensor for name, tensor in state.params.items()}
    for k, moments in enumerate(state.optimizer.moments):
        tensors |= {f"moments/{k}/{name}": tensor for name, tensor in zip(state.params, moments, strict=True)}
    tensors["optimizer/learning_rate"] = state.optimizer.learning_rate
    tensors["optimizer/weight_decay"] = state.optimizer.weight_decay
    tensors["optimizer/active"] = state.optimizer.active
    tensors |= {f"hooks/{name}": tensor for name, tensor in remembered(state.optimizer).items()}
    tensors["orders"] = torch.stack([order.get_state() for order in state.orders])
    tensors["batches"] = state.batches
    tensors |= {f"history/{name}": series.rows for name, series in state.history.items() if len(series)}
    for name, looks in state.observed.items():
        tensors[f"observed/{name}"] = torch.stack([values for _, values in looks])
    for k, observer in enumerate(observers):
        measure: object = observer.measure
        if isinstance(measure, Remembers):
            memory = measure.state_dict()
            tensors |= {f"observers/{k}/{name}": values.clone() for name, values in memory.items()}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _restore(
    configs: Sequence[RunConfig],
    folder: Path,
    record: Mapping[str, Any],
    device: str | torch.device,
    observers: Sequence[Observer],
) -> StackState:
    tensors = load_sealed(folder, record["tensors"])
    checkpoints = [load_sealed(folder, part) for part in record["checkpoints"]]
    # The tensors of a fresh stack have the strides that the kernels and the bits depend on: fill them.
    state = initial_stack(configs, device)
    for name, tensor in state.params.items():
        tensor.copy_(tensors[f"params/{name}"])
    for k, moments in enumerate(state.optimizer.moments):
        for name, tensor in zip(state.params, moments, strict=True):
            tensor.copy_(tensors[f"moments/{k}/{name}"])
    state.optimizer.learning_rate.copy_(tensors["optimizer/learning_rate"])
    state.optimizer.weight_decay.copy_(tensors["optimizer/weight_decay"])
    state.optimizer.active.copy_(tensors["optimizer/active"])
    for name, tensor in remembered(state.optimizer).items():
        tensor.copy_(tensors[f"hooks/{name}"])
    state.optimizer.step = int(record["step"])
    for order, saved in zip(state.orders, tensors["orders"], strict=True):
        order.set_state(saved.clone())
    state.batches = tensors["batches"].to(device)
    state.epoch = int(record["epoch"])
    state.extended_at = int(record.get("extended_at", 0))
    state.diverged = [int(epoch) for epoch in record["diverged"]]
    for name in state.history:
        state.history[name] = Series(tensors.get(f"history/{name}"))
    for name, epochs in record["observed"].items():
        state.observed[name] = list(zip(epochs, tensors[f"observed/{name}"], strict=True))
    for name, (owner, column) in record.get("columns", {}).items():
        state.columns[name] = owner, Column.from_dict(column)
    state.problems |= record.get("problems", {})
    for part in checkpoints:
        for name, tensor in part.items():
            epoch, e, parameter = name.split("/", 2)
            members = state.checkpoints.setdefault(int(epoch), [{} for _ in configs])
            members[int(e)][parameter] = tensor
    for k, observer in enumerate(observers):
        memory = {n.split("/", 2)[2]: t for n, t in tensors.items() if n.startswith(f"observers/{k}/")}
        measure: object = observer.measure
        if isinstance(measure, Remembers):
            measure.load_state_dict(memory)
    return state


def _keep_checkpoints(state: StackState, folder: Path, kept: set[int]) -> list[dict[str, Any]]:
    new = sorted(set(state.checkpoints) - kept)
    if not new:
        return []
    file = folder / f"kept-{state.epoch:08d}.safetensors"
    tensors = {
        f"{epoch}/{e}/{name}": tensor.detach().cpu().contiguous()
        for epoch in new
        for e, params in enumerate(state.checkpoints[epoch])
        for name, tensor in params.items()
    }
    write_atomically(file, lambda draft: save_file(tensors, draft))
    return [{**seal(file), "epochs": new}]


def _check_version(file: Path, record: Mapping[str, Any]) -> None:
    if record["format"] > STATE_FORMAT or record["schema"] > SCHEMA:
        raise StoreError(
            f"{file} was saved by a later version of grokfast (format {record['format']}, schema "
            f"{record['schema']}; this one knows {STATE_FORMAT} and {SCHEMA}): upgrade grokfast, or remove "
            f"{file.parent} to start again"
        )


def _check_configs(file: Path, record: Mapping[str, Any], configs: Sequence[RunConfig]) -> None:
    saved = [RunConfig.from_dict(values) for values in record["configs"]]
    keys, wanted = [config.key for config in saved], [config.key for config in configs]
    if keys != wanted:
        raise StoreError(f"{file} belongs to the runs {keys}, not to {wanted}: give those a folder of their own")
    for ours, theirs in zip(configs, saved, strict=True):
        if ours.looks() != theirs.looks():
            raise StoreError(
                f"{file} belongs to runs that look at {theirs.looks()}, not at {ours.looks()}: give those a folder of "
                "their own"
            )
    if record["schema"] == 1 and configs[0].train_metrics is TrainMetrics.FULL:
        raise StoreError(
            f"{file} was saved by an earlier version of grokfast in the middle of runs with train_metrics 'full', "
            f"whose train losses have names of their own since: remove {file.parent} to train them from the start"
        )

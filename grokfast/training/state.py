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
from safetensors.torch import load_file, save_file
from torch import Tensor

from grokfast.checksums import sha256_of
from grokfast.errors import StoreError
from grokfast.measures import Column
from grokfast.observe import Observer, Remembers
from grokfast.store.atomic import read_sealed, write_atomically, write_sealed
from grokfast.store.identity import SCHEMA
from grokfast.training.config import RunConfig, TrainMetrics
from grokfast.training.history import Series
from grokfast.training.loop import StackState, initial_stack

STATE_FORMAT = 1
"""Version of this layout."""

STATES_KEPT = 2


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
        earlier = _newest(folder, state.epoch)
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
            "diverged": state.diverged,
            "observed": {name: [epoch for epoch, _ in looks] for name, looks in state.observed.items()},
            "columns": {name: [owner, column.to_dict()] for name, (owner, column) in state.columns.items()},
            "problems": state.problems,
            "seconds": seconds,
            "torch": torch.__version__,
            "tensors": _seal(tensors),
            "checkpoints": parts,
        }
        file = folder / f"state-{state.epoch:08d}.json"
        write_sealed(file, record)
        _remove_old(folder, state.epoch)
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
            record = _read(file)
            _check_version(file, record)
            _check_configs(file, record, configs)
            return _restore(configs, folder, record, device, observers), float(record["seconds"])
        except _DamagedError as error:
            if on_damage is not None:
                on_damage(str(error))
    return None


class _DamagedError(Exception):
    """A state file is not what was written."""


def _tensors(state: StackState, observers: Sequence[Observer]) -> dict[str, Tensor]:
    tensors = {f"params/{name}": tensor for name, tensor in state.params.items()}
    for k, moments in enumerate(state.optimizer.moments):
        tensors |= {f"moments/{k}/{name}": tensor for name, tensor in zip(state.params, moments, strict=True)}
    tensors["optimizer/learning_rate"] = state.optimizer.learning_rate
    tensors["optimizer/weight_decay"] = state.optimizer.weight_decay
    tensors["optimizer/active"] = state.optimizer.active
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
    tensors = _load(folder, record["tensors"])
    checkpoints = [_load(folder, part) for part in record["checkpoints"]]
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
    state.optimizer.step = int(record["step"])
    for order, saved in zip(state.orders, tensors["orders"], strict=True):
        order.set_state(saved.clone())
    state.batches = tensors["batches"].to(device)
    state.epoch = int(record["epoch"])
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
    return [{**_seal(file), "epochs": new}]


def _seal(file: Path) -> dict[str, Any]:
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256_of(file)}


def _load(folder: Path, seal: Mapping[str, Any]) -> dict[str, Tensor]:
    file = folder / seal["file"]
    try:
        if file.stat().st_size != seal["bytes"] or sha256_of(file) != seal["sha256"]:
            raise _DamagedError(f"{file} is damaged: its checksum is not the one it was saved with")
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise _DamagedError(f"{file} is damaged: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_sealed(file)
    except (OSError, ValueError) as error:
        raise _DamagedError(f"{file} is damaged: {error}") from error


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


def _newest(folder: Path, epoch: int) -> dict[str, Any] | None:
    """Record of the newest state up to ``epoch`` whose checkpoints are all there, to build upon."""
    for file in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            record = _read(file)
        except _DamagedError:
            continue
        if record["epoch"] <= epoch and all(_present(folder, part) for part in record["checkpoints"]):
            return record
    return None


def _present(folder: Path, seal: Mapping[str, Any]) -> bool:
    file = folder / seal["file"]
    return file.is_file() and bool(file.stat().st_size == seal["bytes"])


def _remove_old(folder: Path, epoch: int) -> None:
    """Keep the newest states and the files they name; drop the rest, damaged ones and drafts included.

    States after ``epoch`` are damaged ones: training was not taken up from them.
    """
    needed: set[str] = set()
    states = 0
    for file in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            record = _read(file)
        except _DamagedError:
            continue
        if record["epoch"] > epoch or states == STATES_KEPT:
            continue
        states += 1
        needed |= {file.name, record["tensors"]["file"], *(part["file"] for part in record["checkpoints"])}
    for pattern in ("state-*", "kept-*", ".tmp-*"):
        for file in folder.glob(pattern):
            if file.name not in needed:
                file.unlink(missing_ok=True)

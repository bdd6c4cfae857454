"""Memory that training needs, estimated before anything is allocated."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import psutil
import torch

from grokfast._generators import generator_kept
from grokfast.errors import ConfigError
from grokfast.observe import schedule_epochs
from grokfast.tasks import fresh_module
from grokfast.training.config import RunConfig


@runtime_checkable
class HasDataBytes(Protocol):
    """A task that knows how large its data are before it makes them."""

    @property
    def data_bytes(self) -> int:
        """Bytes of one member's samples, those that making them takes besides included."""
        ...


def parameter_bytes(config: RunConfig) -> int:
    """Size of the parameters of one member, without allocating them where its network allows that."""
    try:
        with generator_kept(), torch.device("meta"):
            module = config.task.module()
    except Exception:  # a network of one's own that computes with values while it is made, or one beyond all memory
        try:
            module = fresh_module(config.task)
        except (RuntimeError, MemoryError) as error:
            if any(word in str(error) for word in ("allocate", "overflow", "memory")):
                return sys.maxsize
            raise
    numbers = sum(parameter.numel() for parameter in module.parameters())
    return int(numbers * config.precision.dtype.itemsize)


def member_bytes(config: RunConfig) -> int:
    """Estimated memory of one member in training: parameters, gradients, moments, checkpoints, copies."""
    kept = len(schedule_epochs(config.checkpoint_schedule, config.epochs) | {config.epochs})
    return parameter_bytes(config) * (12 + kept)


def free_memory() -> int:
    """Bytes that this machine can still give."""
    return int(psutil.virtual_memory().available)


def check_memory(configs: Sequence[RunConfig]) -> None:
    """Raise now, not in the middle of an allocation, if a single run cannot fit into the memory that is free.

    Args:
        configs: One is looked at of those that can share a stack.

    Raises:
        ConfigError: If so; the run is named, with what it needs.
    """
    free = free_memory()
    for config in {config.stack_key: config for config in configs}.values():
        data = config.task.data_bytes if isinstance(config.task, HasDataBytes) else 0
        need = parameter_bytes(config) * 4 + data  # parameters, gradients and two moments, at the least
        if need > free:
            raise ConfigError(
                f"run {config.key} ({config.task.name}) needs at least {need / 1e9:.4g} GB of memory, of its data "
                f"{data / 1e9:.4g}, and {free / 1e9:.3g} are free: choose a smaller network or task"
            )

"""How a sweep is carried out, and which of its runs it trains."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from grokfast._checks import check_at_least, check_positive
from grokfast.errors import ConfigError


@dataclass(frozen=True)
class Carried:
    """How work is carried out.

    Attributes:
        workers: Processes of this machine; 0 is one a core, or one a CUDA device.
        scheduler: Address of a running Dask scheduler instead, such as tcp://host:8786.
        scheduler_file: File that a running Dask scheduler wrote, instead of its address.
        device: cpu or cuda, for training; one worker a CUDA device.
        save_every: Seconds between saves of the state of what is in training.
        timeout: Seconds to wait for a scheduler and its workers, and for one that was lost to come back.
        dashboard: Serve Dask's pages about the local workers; everyone on this machine can read them.

    Raises:
        ConfigError: If options contradict each other or are out of range.
    """

    workers: int = 0
    scheduler: str | None = None
    scheduler_file: Path | None = None
    device: str = "cpu"
    save_every: float = 180.0
    timeout: float = 60.0
    dashboard: bool = False

    def __post_init__(self) -> None:
        check_at_least("workers", self.workers, 0, error=ConfigError)
        check_positive("save_every", self.save_every, error=ConfigError)
        check_positive("timeout", self.timeout, error=ConfigError)
        if self.device not in ("cpu", "cuda"):
            raise ConfigError(f"device must be 'cpu' or 'cuda' (one worker a device), got {self.device!r}")
        if self.scheduler is not None and self.scheduler_file is not None:
            raise ConfigError("scheduler and scheduler_file exclude each other: give one of them")
        if self.remote and self.workers:
            raise ConfigError("workers are those of the scheduler: leave workers away, or the scheduler")
        if self.remote and self.dashboard:
            raise ConfigError("a dashboard is for local workers; a scheduler of your own has its own pages")

    @property
    def remote(self) -> bool:
        """Whether a scheduler of the user's own is asked."""
        return self.scheduler is not None or self.scheduler_file is not None

    @property
    def count(self) -> int:
        """Processes that work at the same time, as far as is known."""
        return max(1, self.workers) if self.remote else _local_workers(self.workers, self.device)


@dataclass(frozen=True)
class Chosen:
    """Which runs of a sweep are trained, and how they are grouped.

    Attributes:
        part: ``(i, n)``: only the i-th of n fixed parts, for job arrays; i from 1.
        stack_size: Most members of a stack; by default 8, or what the memory allows.
        retry_failed: Train again what failed earlier.
        force: Train again what is stored.
    """

    part: tuple[int, int] | None = None
    stack_size: int | None = None
    retry_failed: bool = False
    force: bool = False


HERE = Carried()
"""On all cores of this machine."""

ALL = Chosen()
"""All runs that the store lacks."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _local_workers(requested: int, device: str) -> int:
    """How many local workers to start: one a core, or one a CUDA device."""
    if device == "cuda":
        devices = torch.cuda.device_count()
        if devices == 0 or requested > devices:
            raise ConfigError(
                f"device cuda runs one worker a device: {devices} found, {requested or 'one each'} requested"
            )
        return requested or devices
    return requested or cores()

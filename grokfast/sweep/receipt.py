"""What training a shard tells: how far it is, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from grokfast.store.atomic import write_json
from grokfast.training import (
    StackState,
)
from grokfast.training.shards import Shard

_REPORT_EVERY = 1.0  # seconds


Report = Callable[[dict[str, Any]], None]


class Outcome(StrEnum):
    """How a call of :func:`run_shard` ended."""

    DONE = "done"
    """Every member is published, as finished, diverged or failed."""
    STOPPED = "stopped"
    """Asked to stop; the state is saved."""
    BUSY = "busy"
    """Another process trains this shard."""
    STORAGE = "storage"
    """The store cannot be written; what was written before is kept."""


@dataclass
class Receipt:
    """What comes back from a worker: names and numbers, never arrays.

    Attributes:
        shard: The shard's name.
        outcome: How it ended.
        published: Keys published by this call.
        failed: Keys published as failed by this call, with the reason.
        message: What went wrong with the store.
        damaged: Damaged state files that were found and passed over.
        resumed_at: Epoch at which training was taken up.
        epochs: Epochs trained by this call.
        seconds: Time of this call; of it ``save_seconds`` to save states.
        save_seconds: As said.
    """

    shard: str
    outcome: Outcome
    published: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    message: str = ""
    damaged: list[str] = field(default_factory=list)
    resumed_at: int = 0
    epochs: int = 0
    seconds: float = 0.0
    save_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "outcome": str(self.outcome)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Receipt:
        """The receipt that :meth:`to_dict` wrote."""
        return cls(**{**values, "outcome": Outcome(values["outcome"])})


class ShardProgress:
    """Tells about a shard in training: whoever started the sweep, and a file for ``grokfast status``."""

    def __init__(self, shard: Shard, folder: Path, receipt: Receipt, report: Report) -> None:
        self._shard, self._folder, self._receipt, self._report = shard, folder, receipt, report
        self._last = 0.0
        self.reads_only = True

    def __call__(self, state: StackState) -> None:
        """One more epoch is finished, on a GPU perhaps several."""
        self._receipt.epochs += state.stride
        told = self._tell(state)
        # Only a courtesy: a full disk must not end the training before the state or a run has to be written.
        if told is not None:
            with suppress(OSError):
                write_json(self._folder / "progress.json", {**told, "time": self._last}, durable=False)

    def first_pass(self, state: StackState) -> None:
        """One more epoch of the first of two passes is finished."""
        self._tell(state, first_pass=True)

    first_pass.reads_only = True  # type: ignore[attr-defined]

    def _tell(self, state: StackState, **more: bool) -> dict[str, Any] | None:
        """Report, if it is time to."""
        now = time.time()
        if now - self._last < _REPORT_EVERY and state.epoch < self._shard.epochs:
            return None
        self._last = now
        told = {"shard": self._shard.id, "epoch": state.epoch, "members": len(self._shard.configs), **more}
        self._report(told)
        return told

"""Training up to an epoch, for benchmarks that time or measure a stack on its way."""

from __future__ import annotations

import contextlib
from threading import Event

from grokfast.training import Interrupted, StackState, run_epochs


def train_until(state: StackState, epoch: int) -> None:
    """Train a stack in place until it has finished ``epoch`` epochs."""
    stop = Event()

    def look(now: StackState) -> None:
        if now.epoch >= epoch:
            stop.set()

    with contextlib.suppress(Interrupted):
        run_epochs(state, on_epoch=look, stop=stop)

"""Saving a stack now and then while it trains, and taking it up again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from grokfast.observe import Observer
from grokfast.training.config import RunConfig
from grokfast.training.loop import StackState, initial_stack
from grokfast.training.state import load_state, save_state


class StateKeeper:
    """Saves a stack while it trains, and takes it up again where it was.

    The first save comes ``min(every, FIRST_SAVE)`` seconds after the start; then the interval doubles up to
    ``every``.

    Args:
        folder: The state folder.
        every: Seconds between saves; 0 saves after each epoch.
        on_damage: Told of each damaged file, by name.
    """

    FIRST_SAVE = 5.0

    def __init__(self, folder: Path, every: float = 180.0, on_damage: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self.every = every
        self.resumed_at = 0
        """The epoch at which training was taken up."""
        self.saves = 0
        self.save_seconds = 0.0
        self._on_damage = on_damage
        self._observers: Sequence[Observer] = ()
        self._before = 0.0
        self._started = self._last = time.perf_counter()
        self._interval = min(every, self.FIRST_SAVE)

    @property
    def seconds(self) -> float:
        """Training time so far, over all attempts."""
        return self._before + time.perf_counter() - self._started

    def start(
        self,
        configs: Sequence[RunConfig],
        device: str | torch.device,
        observers: Sequence[Observer],
        begin: Callable[[Sequence[RunConfig], str | torch.device], StackState] = initial_stack,
    ) -> StackState:
        """The saved state of the stack, or what ``begin`` gives: its initial one."""
        self._observers = observers
        found = load_state(configs, self.folder, device, observers=observers, on_damage=self._on_damage)
        self._started = self._last = time.perf_counter()
        if found is None:
            return begin(configs, device)
        state, self._before = found
        self.resumed_at = state.epoch
        return state

    def after_epoch(self, state: StackState) -> None:
        """Save if it is time to."""
        if time.perf_counter() - self._last >= self._interval:
            self.save(state)
            self._interval = min(self.every, 2 * self._interval)

    def save(self, state: StackState) -> None:
        """Save now.

        Raises:
            StoreError: If the folder cannot be written.
        """
        started = time.perf_counter()
        save_state(state, self.folder, observers=self._observers, seconds=self.seconds)
        self._last = time.perf_counter()
        self.save_seconds += self._last - started
        self.saves += 1

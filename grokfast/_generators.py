"""Where a generator of torch is, read and set while other threads do the same.

torch holds a generator's mutex while it makes the tensor of its state. That may start Python's garbage collector
(before Python 3.12), whose finalizers may let another thread run; if that one asks for the same state, it waits for
the mutex with the interpreter's lock in its hand, and both wait for ever. So one thread at a time asks here, and
nothing is collected meanwhile.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_ONE = threading.RLock()  # reads or sets a generator
_KEPT = threading.RLock()  # draws from the global one


def generator_state(generator: torch.Generator | None = None) -> Tensor:
    """The state of a generator, by default of torch's global one on the CPU."""
    with _alone():
        return (generator or torch.default_generator).get_state()


def set_generator_state(state: Tensor, generator: torch.Generator | None = None) -> torch.Generator:
    """Set a generator, by default torch's global one on the CPU, to a state; the generator."""
    with _alone():
        return (generator or torch.default_generator).set_state(state)


def seed_generator(seed: int) -> None:
    """Seed torch's global generator on the CPU, and no other."""
    with _alone():
        torch.default_generator.manual_seed(seed)


@contextmanager
def generator_kept() -> Iterator[None]:
    """Afterwards torch's global generator on the CPU is where it was; one thread at a time draws from it here."""
    with _KEPT:
        state = generator_state()
        try:
            yield
        finally:
            set_generator_state(state)


@contextmanager
def _alone() -> Iterator[None]:
    with _ONE:
        collecting = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()

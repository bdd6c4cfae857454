"""Being told to stop: once to save and end, twice to end at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopping:
    """What signals have asked for, and what else has.

    Attributes:
        reason: Why to stop, empty as long as there is no reason.
    """

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self, reason: str) -> None:
        """Ask to stop; the first reason stays."""
        self.reason = self.reason or reason


@contextmanager
def stopping(on_first: Callable[[str], None]) -> Iterator[Stopping]:
    """Take SIGINT, SIGTERM and SIGHUP for the time of the context.

    The first asks to stop. The second ends the process with its children at once, with status 130; states
    that were saved stay. Outside the main thread signals are left alone.

    Args:
        on_first: Told the signal's name, from the signal's handler.
    """
    asked = Stopping()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.reason:
            os.write(2, b"\ngrokfast: stopped at once; the states saved before are kept\n")
            # Children end as soon as they notice that this process is gone; nothing is waited for.
            os._exit(130)
        asked(signal.Signals(number).name)
        on_first(asked.reason)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before: dict[int, Any] = {}
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, handle)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

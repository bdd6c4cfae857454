"""Hold signals back while lattices, generators and counts are not in step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2")
_SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


class held_signals:
    """A context in which handlers written in Python, such as Ctrl-C's, wait until it ends.

    Outside the main thread it does nothing, since Python runs handlers in the main thread only.
    """

    def __enter__(self) -> None:
        self._waiting: list[tuple[int, FrameType | None]] = []
        self._handlers: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
        try:
            for number in self._handlers:
                signal.signal(number, self._hold)
        except BaseException:
            self._give_back()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        waiting, self._waiting = self._waiting, []
        for number, frame in waiting:
            self._handlers[number](number, frame)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._waiting.append((number, frame))

    def _give_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

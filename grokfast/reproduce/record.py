"""What a reproduction says of how it was made: versions, machine, and the time of each part over all sittings."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import psutil

from grokfast.report.page import Made, read_made, write_made
from grokfast.sweep.options import cores
from grokfast.training import ENGINE, versions

_EVERY = 20.0  # seconds between writes: a kill loses no more of the times than this


class Clock:
    """Adds up the wall time of each part and keeps it in the summaries' folder, with the runs that failed.

    Args:
        folder: Of the summaries.
        size: Of the reproduction.
        command: That makes it.
    """

    def __init__(self, folder: Path, size: str, command: str) -> None:
        self._folder = folder
        before = read_made(folder)
        self._seconds = dict(before.seconds) if before is not None else {}
        self._made = Made(size, command, {**versions(), "engine": str(ENGINE)}, machine())
        self._part, self._since, self._written = "", 0.0, 0.0
        self.failed: dict[str, str] = {}
        self._write()

    def start(self, part: str) -> None:
        """A part begins, or goes on."""
        self._part, self._since = part, time.monotonic()

    def tick(self) -> None:
        """Time has passed; written now and then."""
        self._add()
        if time.monotonic() - self._written >= _EVERY:
            self._write()

    def end(self) -> None:
        """The part has ended or was stopped."""
        self._add()
        self._part = ""
        self._write()

    def _add(self) -> None:
        if self._part:
            now = time.monotonic()
            self._seconds[self._part] = self._seconds.get(self._part, 0.0) + now - self._since
            self._since = now

    def _write(self) -> None:
        self._written = time.monotonic()
        seconds = {name: round(value, 1) for name, value in self._seconds.items()}
        made = self._made
        write_made(self._folder, Made(made.size, made.command, made.versions, made.machine, seconds, self.failed))


def machine() -> dict[str, str]:
    """The class of machine: processor, cores, memory and system; nothing that says whose it is."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": _processor(),
        "cores used": str(cores()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

"""What the tool that plants mistakes leaves behind when it is ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("coverage")

_SCRIPT = """
import os, signal, subprocess, sys, time
sys.path.insert(0, {folder!r})
from covering import in_fork

def inner():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as a test may
    if sys.argv[2] == "more":
        subprocess.Popen(["sleep", "1000"], close_fds=False)
    os.write(held, b"here")
    time.sleep(1000)

held = int(sys.argv[1])
os.set_inheritable(held, True)
in_fork(lambda: in_fork(inner, limit=1e9), limit=1e9)
"""


@pytest.mark.parametrize(
    ("number", "more"),
    [(signal.SIGHUP, "more"), (signal.SIGINT, "more"), (signal.SIGTERM, "more"), (signal.SIGKILL, "none")],
)
def test_forked_children_end_with_what_forked_them(number: int, more: str) -> None:
    """All hold the same pipe, which ends when the last of them has."""
    read, write = os.pipe()
    script = _SCRIPT.format(folder=str(Path(__file__).resolve().parent))
    command = [sys.executable, "-c", script, str(write), more]
    process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read, "rb", buffering=0) as held:
        assert held.read(4) == b"here"
        process.send_signal(number)
        assert process.wait(60) != 0
        readable, _, _ = select.select([held], [], [], 60)
        assert readable, "a child was left"
        assert held.read() == b""

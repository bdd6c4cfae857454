"""Ctrl-C of `grokfast train`: the state is saved, and the command that is printed goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from grokfast import load
from grokfast.training.shards import SHARDS

TRAIN = (
    *("train", "modular-addition", "--P", "7", "--hidden", "9", "--w0", "1", "--batch-size", "full"),
    *("--epochs", "5000", "--feature-schedule", "never", "--test-schedule", "every:1000", "--threads", "1"),
)


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "grokfast", *TRAIN, "--runs", "runs"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not list((tmp_path / "runs" / SHARDS).glob("*/shard.json")) and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "stopped by SIGINT; states are saved. Resume with" in told
    assert "train modular-addition --P 7" in told.replace("\n", " ")
    (state,) = (tmp_path / "runs" / SHARDS).glob("*/state-*.json")
    assert 0 < int(state.stem.split("-")[1]) < 5000
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=600, check=True)
    assert "1 runs lie in" in done.stdout
    (run,) = load(tmp_path / "runs")
    assert run.record["status"] == "finished"
    assert not list((tmp_path / "runs" / SHARDS).iterdir())

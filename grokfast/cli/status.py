"""`grokfast status`: how far the sweeps of a folder are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from grokfast._words import duration
from grokfast.cli.common import Runs
from grokfast.cli.progress import make_console
from grokfast.store import Store
from grokfast.sweep import sweeps_of


def main(arguments: Sequence[str]) -> None:
    """The command."""
    tyro.cli(status, args=list(arguments), prog="grokfast status")


def status(folder: Runs = Path("runs")) -> None:
    """How far the sweeps of a folder are, running or dead.

    Args:
        folder: Folder of runs.
    """
    console = make_console()
    found = sweeps_of(Store(folder))
    if not found:
        console.print(f"no sweep has written to {folder.resolve()}", soft_wrap=True)
    for values in found:
        console.print(f"{values['title']}: {_state(values)}", soft_wrap=True, highlight=False)
        if values["state"] == "damaged":
            console.print("  its file cannot be read; the same sweep writes it anew", soft_wrap=True)
            continue
        console.print(
            f"  {values['done']} of {len(values['keys'])} runs done, {values['failed']} failed, "
            f"{values['missing']} missing; started {_clock(values['started'])} on {values['host']}",
            soft_wrap=True,
        )
        for shard in values["training"]:
            saved = "never" if shard["saved_at"] is None else f"epoch {shard['saved']}, {_ago(shard['saved_at'])}"
            console.print(
                f"  shard {shard['shard'][:6]}: {shard['members']} runs, epoch {shard['epoch']} of "
                f"{shard['epochs']}, {'training' if shard['alive'] else 'waiting'}; saved: {saved}",
                soft_wrap=True,
            )
        if values["missing"] and not values["alive"]:
            console.print(f"  resume: {values['resume'] or 'run the same sweep again'}", soft_wrap=True)


def _state(values: dict[str, Any]) -> str:
    reason = values.get("reason")
    return f"{values['state']}{f' ({reason})' if reason else ''}"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _ago(at: float) -> str:
    return f"{duration(max(0.0, time.time() - at))} ago"

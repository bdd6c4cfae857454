"""`grokfast status`: how far the sweeps of a folder are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokfast._words import duration
from grokfast.cli.common import Runs
from grokfast.cli.printing import call, make_console, tell
from grokfast.store import Store
from grokfast.sweep import sweeps_of


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(status, arguments, "grokfast status")


def status(folder: Runs = Path("runs")) -> None:
    """How far the sweeps of a folder are, running or dead.

    Args:
        folder: Folder of runs.
    """
    console = make_console()
    found = sweeps_of(Store(folder))
    if not found:
        tell(console, f"no sweep has written to {folder.resolve()}")
    for values in found:
        tell(console, f"{values['title']}: {_state(values)}")
        if values["state"] == "damaged":
            tell(console, "  its file cannot be read; the same sweep writes it anew")
            continue
        tell(
            console,
            f"  {values['done']} of {len(values['keys'])} runs done, {values['failed']} failed, "
            f"{values['missing']} missing; started {_clock(values['started'])} on {values['host']}",
        )
        for shard in values["training"]:
            saved = "never" if shard["saved_at"] is None else f"epoch {shard['saved']}, {_ago(shard['saved_at'])}"
            tell(
                console,
                f"  shard {shard['shard'][:6]}: {shard['members']} runs, epoch {shard['epoch']} of "
                f"{shard['epochs']}, {'training' if shard['alive'] else 'waiting'}; saved: {saved}",
            )
        if values["missing"] and not values["alive"]:
            tell(console, f"  resume: {values['resume'] or 'run the same sweep again'}")


def _state(values: dict[str, Any]) -> str:
    reason = values.get("reason")
    return f"{values['state']}{f' ({reason})' if reason else ''}"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _ago(at: float) -> str:
    return f"{duration(max(0.0, time.time() - at))} ago"

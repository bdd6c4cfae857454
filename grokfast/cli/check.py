"""`grokfast check`: whether every byte of a folder of runs is the one that was written."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from grokfast.cli.common import Runs
from grokfast.cli.printing import call, make_console, tell
from grokfast.store import Health, Store, check_store


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(check, arguments, "grokfast check")


def check(
    folder: Runs = Path("runs"),
    repair: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    workers: int = 0,
) -> None:
    """Compare every file of the runs in a folder with its checksum; exit status 1 if something is damaged.

    Args:
        folder: Folder of runs.
        repair: Train damaged runs again, and remove damaged measures, which are taken anew when they are asked for.
        workers: Worker processes for that; 0 is one a core.
    """
    console = make_console()
    store = Store(folder)
    found = check_store(store)
    _tell(console, found, folder)
    if not found.messages:
        return
    if not repair:
        tell(console, "`grokfast check --repair` trains damaged runs again")
        raise SystemExit(1)
    left = _repair(console, store, found, workers)
    raise SystemExit(1 if left else 0)


def _repair(console: Console, store: Store, found: Health, workers: int) -> bool:
    """Repair; returns whether something is still damaged."""
    from grokfast.cli.sweep_progress import SweepDisplay
    from grokfast.sweep import repair_store

    resume = shlex.join(["grokfast", *sys.argv[1:]])
    with SweepDisplay(console) as display:
        done = repair_store(store, found, workers=workers, resume=resume, listener=display)
    for message in done.left:
        tell(console, f"left: {message}")
    tell(
        console,
        f"{len(done.trained)} runs trained again, {len(done.removed)} damaged measures removed, {len(done.left)} left",
    )
    if done.stopped:
        tell(console, f"stopped by {done.stopped}; the same command goes on")
        raise SystemExit(130)
    return bool(check_store(store).messages)


def _tell(console: Console, found: Health, folder: Path) -> None:
    for message in found.messages:
        tell(console, f"damaged: {message}")
    tell(
        console,
        f"{len(found.sound) + len(found.unsealed)} runs are sound, {len(found.damaged)} damaged, in {folder.resolve()}",
    )
    if found.unsealed:
        tell(
            console,
            f"{len(found.unsealed)} of them were published without checksums by an early version: they can be read, "
            "but a changed value in them cannot be told; `grokfast runs --upgrade` writes them with checksums",
        )

"""Where commands print."""

from __future__ import annotations

from rich.console import Console


def make_console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 110))

"""Where commands print."""

from __future__ import annotations

from rich.console import Console


def make_console() -> Console:
    """Standard output, wide enough for the tables where it is no terminal; names and paths are text, never markup."""
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, width=max(console.width, 110))

"""Where commands print, and lines that fit a terminal.

A terminal is as wide as it says, or as ``COLUMNS`` does, and lines are broken between words there. In a pipe or a file
each line stays whole, for programs read them; tables there are as wide as they are, or as ``COLUMNS`` says.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

WHOLE = 10_000
"""Characters a line where there is no edge."""

_COMMAND = re.compile(r"\s*(?:next: |resume: )?(?=grokfast [a-z]+\b)")  # before a command that is to be copied

_NARROW = 16  # characters that text beside its name has at least, else it begins below


def width_of(stream: TextIO | None) -> int:
    """Characters a line of a stream: ``COLUMNS`` or what its terminal says, and WHOLE where it is no terminal."""
    try:
        if stream is None or not stream.isatty():
            return WHOLE
        return _told() or os.get_terminal_size(stream.fileno()).columns or WHOLE
    except (OSError, ValueError):
        return WHOLE


def _told() -> int:
    """What ``COLUMNS`` says, 0 if nothing."""
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() else 0


def make_console() -> Console:
    """A rich console on standard output; names and paths are text, never markup."""
    from rich.console import Console

    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, width=_told() or WHOLE)


def wrapped(text: str, width: int) -> str:
    """Lines no longer than ``width``, broken between words; a path or another long word stays whole.

    What follows a name and two blanks keeps its column, where there is room for it, and a command can be copied: its
    lines end in a backslash.

    Args:
        text: Lines.
        width: Characters a line.
    """
    return "\n".join(_line(line, width) for line in text.split("\n"))


def _line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    if (found := _COMMAND.match(line)) and (lines := _command(found[0], line[found.end() :], width)):
        return lines
    start = line[: len(line) - len(line.lstrip())]
    found = re.match(r"\s*(\S+(?: \S+)*?  +)(?=\S)", line)
    column = found.end() if found else 0
    hang = column if 0 < column <= width - _NARROW else min(len(start) + 2, width // 2)
    pieces = textwrap.wrap(
        line[len(start) :], max(1, width), initial_indent=start, subsequent_indent=" " * hang,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(pieces)


def _command(before: str, line: str, width: int) -> str | None:
    """A command over several lines; None if it is none after all."""
    try:
        words = [shlex.quote(word) for word in shlex.split(line)]
    except ValueError:
        return None
    lines, indent = [before + words[0]], " " * (len(before) - len(before.lstrip()) + 2)
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 3 > width:
            lines.append(indent + word)
        else:
            lines[-1] += f" {word}"
    return " \\\n".join(lines)


def say(text: str, stream: TextIO | None = None) -> None:
    """Print to a stream, by default standard output."""
    to = sys.stdout if stream is None else stream
    print(wrapped(text, width_of(to)), file=to)


def tell(console: Console, text: str) -> None:
    """Print to a console, above its live display if it has one."""
    console.print(wrapped(text, console.width) if console.is_terminal else text, soft_wrap=True)


def call(function: Callable[..., Any], arguments: Sequence[str], name: str, description: str = "") -> Any:
    """A command line of a function's own arguments; what its help says fits the terminal.

    Args:
        function: Or a class, whose fields are the arguments.
        arguments: Of the command line.
        name: Of the command.
        description: What the help begins with; by default what the docstring says before its arguments.
    """
    import tyro

    said = description or re.split(r"\n\s*(?:Args|Attributes|Returns|Raises):", inspect.getdoc(function) or "")[0]
    paragraphs = [" ".join(paragraph.split()) for paragraph in said.split("\n\n")]
    # tyro joins lines again, but not those that are indented.
    width = shutil.get_terminal_size().columns
    text = "\n\n".join(wrapped(paragraph, width) for paragraph in paragraphs)
    return tyro.cli(function, args=list(arguments), prog=name, description=text)

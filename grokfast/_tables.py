"""Tables that a terminal can hold: as a table where it fits, and as a line a value where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

PROSE = 16  # characters that a column of prose has at least, in a table


@dataclass(frozen=True)
class Heading:
    """A column.

    Attributes:
        text: What stands above it.
        justify: Where its cells stand.
        least: Its cells may be folded to so many characters; None for cells that stay whole.
        most: Its cells are folded to at most so many.
        spare: It is left out, and named below the table, where there is no room for it.
    """

    text: str
    justify: Literal["left", "right"] = "right"
    least: int | None = None
    most: int | None = None
    spare: bool = False


class Fitted:
    """A table of texts that never stands beyond a terminal's edge.

    Where its columns do not fit beside each other, each row is a paragraph with a line a value.

    Args:
        headings: One a column.
        rows: Their cells, as text and never as markup.
        title: Above it.
        ruled: With a line below the headings.
    """

    def __init__(
        self, headings: Sequence[Heading], rows: Iterable[Sequence[str | Text]], title: str = "", *, ruled: bool = True
    ) -> None:
        self.headings = list(headings)
        self.rows = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
        self.title = title
        self._ruled = ruled

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As a table, or as paragraphs."""
        shown = self._fitting(options.max_width)
        if not shown:
            yield from self._paragraphs(options.max_width)
            return
        yield self._table(shown)
        left = [heading.text for k, heading in enumerate(self.headings) if k not in shown]
        if left:
            yield Text(f"no room for {', '.join(left)}")

    def _fitting(self, width: int) -> list[int]:
        """The columns that stand beside each other, each at its narrowest; none if not all can that are not spare."""
        between = 2 if self._ruled else 1
        shown = list(range(len(self.headings)))
        while between + sum(self._narrowest(k) + between for k in shown) > width:
            spare = [k for k in shown if self.headings[k].spare]
            if not spare:
                return []
            shown.remove(spare[-1])
        return shown

    def _narrowest(self, k: int) -> int:
        heading = self.headings[k]
        texts = [heading.text, *(row[k].plain for row in self.rows)]
        widest = max(map(cell_len, texts))
        if heading.least is None:
            return widest
        return min(widest, max(heading.least, *(cell_len(word) for text in texts for word in text.split() or [""])))

    def _table(self, shown: Sequence[int]) -> Table:
        box_, edge = (box.SIMPLE_HEAD, True) if self._ruled else (None, False)
        table = Table(title=Text(self.title) if self.title else None, title_justify="left", box=box_, pad_edge=edge)
        table.collapse_padding = self._ruled
        for k in shown:
            heading = self.headings[k]
            table.add_column(
                Text(heading.text), justify=heading.justify, no_wrap=heading.least is None, overflow="fold",
                min_width=self._narrowest(k), max_width=heading.most,
            )  # fmt: skip
        for row in self.rows:
            table.add_row(*(row[k] for k in shown))
        return table

    def _paragraphs(self, width: int) -> RenderResult:
        if self.title:
            yield Text(self.title)
            yield Text()
        named = min(max((cell_len(heading.text) for heading in self.headings), default=0), max(1, width // 2))
        for row in self.rows:
            for heading, cell in zip(self.headings, row, strict=True):
                if not cell.plain:
                    continue
                if cell_len(heading.text) > named or cell_len(cell.plain) > width - named - 2:
                    yield Text(heading.text)
                    yield Padding(cell, (0, 0, 0, 2))
                else:
                    yield Text.assemble(heading.text.ljust(named + 2), cell)
            yield Text()

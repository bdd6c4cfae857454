"""Progress over samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from grokfast.fisher.batches import Block


def shown(blocks: Iterable[Block], progress: bool, inputs: object) -> Iterator[Block]:
    """The blocks, with a bar that counts samples if ``progress``."""
    if not progress:
        yield from blocks
        return
    first = inputs[0] if isinstance(inputs, tuple) else inputs
    known = len(first) if isinstance(first, Tensor) else None
    with Progress(
        TextColumn("Fisher diagonal"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=known)
        for block in blocks:
            yield block
            bar.advance(task, block.n)

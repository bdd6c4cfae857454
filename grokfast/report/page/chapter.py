"""The page's chapter past the paper: what each experiment came to, kept beside the summaries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from grokfast.errors import StoreError
from grokfast.report.beyond import Decided
from grokfast.report.page.describe import text_of
from grokfast.report.page.svg import inline_svg
from grokfast.store.atomic import write_page

FILE = "beyond.json"
"""Its file in a folder of summaries."""


def write_chapter(folder: Path, results: Sequence[Decided], figures: dict[str, Figure]) -> Path:
    """Keep what stands in the chapter.

    Args:
        folder: Of the summaries.
        results: Of all experiments, in their order.
        figures: Those that could be drawn, by name.

    Returns:
        The file.

    Raises:
        StoreError: If it cannot be written.
    """
    file = folder / FILE
    write_page(file, json.dumps(list(_values(results, figures)), indent=1, ensure_ascii=False) + "\n")
    return file


def read_chapter(folder: Path) -> list[dict[str, Any]]:
    """What stands in the chapter; nothing where none was written.

    Raises:
        StoreError: If the file is damaged.
    """
    file = folder / FILE
    try:
        found: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
        return [{name: entry[name] for name in _NAMES} for entry in found]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{file} is no chapter of a page: {error!r}") from error


_NAMES = ("number", "question", "answer", "runs", "missing", "rows", "figure", "text", "svg")


def _values(results: Sequence[Decided], figures: dict[str, Figure]) -> Iterator[dict[str, Any]]:
    for result in results:
        found, outcome = result.experiment, result.outcome
        figure = figures.get(found.figure) if outcome else None
        text = text_of(figure, found.question) if figure else ""
        yield {
            "number": found.number,
            "question": found.question,
            "answer": result.answer,
            "runs": list(result.sizes),
            "missing": "" if outcome else " ".join(result.problem.split()),
            "rows": [[one.name, one.text, one.note] for one in outcome.quantities] if outcome else [],
            "figure": found.figure,
            "text": text,
            "svg": inline_svg(figure, f"{found.figure}-{found.number}", text) if figure else "",
        }

"""The experiments past the paper of a reproduction: their answers and figures, and the chapter of its page."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from grokfast.errors import InputError, MissingRunsError
from grokfast.figures import draw, save
from grokfast.report.beyond import beyond_report, decide_all
from grokfast.report.page import write_chapter
from grokfast.runs import load
from grokfast.store.atomic import write_page


def write_beyond(folder: Path, summaries: Path) -> list[Path]:
    """Apply every rule to the runs of a folder, and draw the figures that can be drawn.

    Measures that the rules need are taken and kept; it may be killed at any moment.

    Args:
        folder: Of the runs.
        summaries: Folder of the summaries, whose page has a chapter of it from then on.

    Returns:
        The files: ``beyond.md``, the chapter, and those of the figures in ``figures``.

    Raises:
        MissingRunsError: If there are runs of none of the experiments.
        StoreError: If a file cannot be written.
    """
    table = load(folder)
    results = decide_all(table)
    page = folder / "beyond.md"
    write_page(page, beyond_report(results))
    figures: dict[str, Figure] = {}
    for name in dict.fromkeys(result.experiment.figure for result in results):
        try:
            figures[name] = draw(name, table)
        except (InputError, MissingRunsError):
            continue  # the page says what is missing
    files = [page, write_chapter(summaries, results, figures)]
    for name, figure in figures.items():
        files += save(figure, folder / "figures", name)
    return files

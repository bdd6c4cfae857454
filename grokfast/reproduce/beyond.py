"""The experiments past the paper of a reproduction: their answers and figures, beside its page."""

from __future__ import annotations

from pathlib import Path

from grokfast.errors import InputError, MissingRunsError
from grokfast.figures import draw, save
from grokfast.report.beyond import EXPERIMENTS, beyond_report
from grokfast.runs import load
from grokfast.store.atomic import write_page


def write_beyond(folder: Path) -> list[Path]:
    """Apply every rule to the runs of a folder, and draw the figures that can be drawn.

    Measures that the rules need are taken and kept; it may be killed at any moment.

    Args:
        folder: Of the runs.

    Returns:
        The files: ``beyond.md``, and those of the figures in ``figures``.

    Raises:
        MissingRunsError: If there are runs of none of the experiments.
        StoreError: If a file cannot be written.
    """
    table = load(folder)
    page = folder / "beyond.md"
    write_page(page, beyond_report(table))
    files = [page]
    for found in EXPERIMENTS.values():
        try:
            figure = draw(found.figure, table)
        except (InputError, MissingRunsError):
            continue  # the page says what is missing
        files += save(figure, folder / "figures", found.figure)
    return files

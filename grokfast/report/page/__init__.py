"""The page of a reproduction: every claim and figure beside what the paper has, in one HTML file."""

from grokfast.report.page.build import build_page, render
from grokfast.report.page.chapter import write_chapter
from grokfast.report.page.summaries import (
    Made,
    Summaries,
    open_summaries,
    read_made,
    write_made,
    write_summary,
)

__all__ = [
    "Made",
    "Summaries",
    "build_page",
    "open_summaries",
    "read_made",
    "render",
    "write_chapter",
    "write_made",
    "write_summary",
]

"""The page: one HTML file that holds everything and asks for nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from grokfast._words import duration
from grokfast.report.page.chapter import read_chapter
from grokfast.report.page.content import Tell, page_values
from grokfast.report.page.describe import HEADINGS
from grokfast.report.page.library import GLOBAL, INSTALL, chart_library
from grokfast.report.page.summaries import open_summaries
from grokfast.store.atomic import write_page


def build_page(folder: Path, file: Path, tell: Tell = lambda name: None) -> dict[str, Any]:
    """Make the page from summaries alone.

    Args:
        folder: Of the summaries.
        file: To write; it is replaced in one step.
        tell: Told the name of each claim and figure.

    Returns:
        What stands on it, as :func:`grokfast.report.page.content.page_values` gives it.

    Raises:
        StoreError: If the summaries cannot be read, or the page cannot be written.
    """
    with open_summaries(folder) as summaries:
        values = {**page_values(summaries, tell), "beyond": read_chapter(folder)}
    write_page(file, render(values))
    return values


def render(values: dict[str, Any]) -> str:
    """The page as HTML.

    Args:
        values: What the template shows.
    """
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    charts = {figure.name: figure.chart for figure in values["figures"] if figure.chart}
    library = chart_library() if charts else ""
    return environment.get_template("page.html.j2").render(
        **values,
        headings=HEADINGS,
        library=Markup(library),
        install=INSTALL,
        entry=GLOBAL,
        charts=Markup(json.dumps(charts if library else {}, separators=(",", ":")).replace("</", "<\\/")),
        style=Markup(_text(environment, "page.css")),
        script=Markup(_text(environment, "page.js")),
        safe=Markup,
    )


def _text(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]

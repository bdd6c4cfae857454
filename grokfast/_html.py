"""Small pieces of HTML for notebooks: tables, lines and pictures that need no script and no style sheet."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from grokfast._words import number

_WIDTH, _HEIGHT = 220, 48
_INKS = ("#888888", "#0072B2", "#D55E00", "#009E73")


def heading(name: str, about: str = "") -> str:
    """What it is, in bold, and what more there is to say in one line."""
    return f"<div><b>{escape(name)}</b>{' ' + escape(about) if about else ''}</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], more: str = "") -> str:
    """A table of texts and numbers.

    Args:
        head: A heading for each column.
        rows: Of as many cells.
        more: A line below it.
    """
    top = "".join(f'<th style="text-align:right">{escape(str(cell))}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:right">{escape(number(cell))}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    below = f"<div>{escape(more)}</div>" if more else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{below}"


def lines(curves: Sequence[Sequence[float]], low: float, high: float, title: str = "") -> str:
    """Curves as a picture without axes, in grey, blue, vermillion and green; gaps where a value is not finite.

    Args:
        curves: One sequence each, drawn over equal steps, thinned.
        low: Value of the lower edge.
        high: Of the upper edge.
        title: What is shown, for those who hover or listen.
    """
    drawn = []
    for index, whole in enumerate(curves):
        curve = whole[:: -(-len(whole) // _WIDTH) or 1]  # a point a pixel at most
        steps = max(len(curve) - 1, 1)
        points = " ".join(
            f"{_WIDTH * k / steps:.1f},{_HEIGHT * (1 - (value - low) / (high - low)):.1f}"
            for k, value in enumerate(curve)
            if low <= value <= high
        )
        ink = _INKS[index % len(_INKS)]
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.5"/>')
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT + 4}" viewBox="0 -2 {_WIDTH} {_HEIGHT + 4}" role="img">'
        f"<title>{escape(title)}</title>{''.join(drawn)}</svg>"
    )


def picture(png: bytes, width: int | None = None, title: str = "") -> str:
    """A PNG within the page."""
    size = "" if width is None else f' width="{width}"'
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(title)}"{size} src="data:image/png;base64,{data}" style="max-width:100%">'

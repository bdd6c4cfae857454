"""A Matplotlib figure as SVG that stands inline in a page: small, without ids that clash, with a text for readers."""

from __future__ import annotations

import io
import re
from html import escape

import matplotlib as mpl
from matplotlib.figure import Figure

from grokfast.figures.style import style

_ID = re.compile(r'(\bid="|url\(#|href="#)')
_PLACES = re.compile(r'(?<=[ "])(?:d|points|x|y|x1|x2|y1|y2|transform|width|height)="[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_HEAD = re.compile(r'<svg\b[^>]*?viewBox="(?P<box>[^"]+)"[^>]*>', re.DOTALL)
_DATA = re.compile(r'"data:image/png;base64,[^"]*"', re.DOTALL)


def inline_svg(figure: Figure, name: str, text: str) -> str:
    """The figure as one ``<svg>`` element.

    Args:
        figure: As drawn.
        name: Prefix of all ids: the figure's name.
        text: What a reader who does not see it is told.

    Returns:
        The element: it scales with its container, to its own size at most.
    """
    file = io.StringIO()
    # The layout fits already: a tight box would compute it twice.
    with style(), mpl.rc_context({"savefig.bbox": None}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    pictures = _DATA.findall(svg)
    svg = _DATA.sub('"@picture"', svg)
    svg = _ID.sub(rf"\1{name}-", svg)
    svg = _PLACES.sub(lambda found: _NUMBER.sub(_rounded, found[0]), svg)
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana")
    svg = re.sub(r">\s+<", "><", svg)
    head = _HEAD.search(svg)
    assert head is not None, "Matplotlib writes a viewBox"
    width = float(head["box"].split()[2])
    opening = (
        f'<svg viewBox="{head["box"]}" role="img" aria-labelledby="{name}-text" '
        f'style="width:100%;max-width:{1.25 * width:.0f}px;height:auto">'
        f'<title id="{name}-text">{escape(text)}</title>'
    )
    svg = opening + svg[head.end() :]
    for picture in pictures:
        svg = svg.replace('"@picture"', picture.replace("\n", ""), 1)
    return svg.strip()


def _rounded(number: re.Match[str]) -> str:
    """A coordinate to a tenth of a point; scales and the like, below 1, to three digits."""
    value = float(number[0])
    return f"{value:.1f}".removesuffix(".0") if abs(value) >= 1 else f"{value:.3g}"

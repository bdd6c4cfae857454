"""Formulas as MathML, made while the site is built: no script, no network; a font for them lies beside the pages."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ziamath
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)
_FONT = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"


def _mathml(translator: Any, node: nodes.Element, display: str) -> str:
    text = node.astext().strip()
    try:
        return convert(_one_line(text), display=display)
    except Exception as error:  # of LaTeX that it does not know it raises anything
        _LOGGER.warning("formula that cannot be drawn: %s (%r)", text, error, location=node)
        return translator.encode(text)


def _one_line(text: str) -> str:
    r"""A formula as one piece: lines of ``a &= b \\`` become an aligned block, as MathJax reads them."""
    if r"\begin" not in text and (r"\\" in text or "&" in text):
        return rf"\begin{{aligned}}{text}\end{{aligned}}"
    return text


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_mathml(translator, node, "inline"))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_mathml(translator, node, "block")}</div>\n')
    raise nodes.SkipNode


def _copy_font(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        shutil.copy(_FONT, Path(app.outdir) / "_static" / _FONT.name)


def setup(app: Sphinx) -> dict[str, bool]:
    """As Sphinx wants it."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    app.config["html_math_renderer"] = "mathml"
    app.connect("build-finished", _copy_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The library of the interactive charts (Vega, Vega-Lite, Vega-Embed; BSD), as one script to stand inline."""

from __future__ import annotations

import functools
import importlib.util

GLOBAL = "grokfastCharts"
"""Name in the page's scripts of the function that draws a specification into an element."""

INSTALL = "pip install 'grokfast[page]'"
"""What brings the library."""


@functools.cache
def chart_library() -> str:
    """The script, about 0.9 MB; empty without the extra ``page``, whose package carries it: nothing is fetched."""
    if importlib.util.find_spec("vl_convert") is None:
        return ""
    import vl_convert

    script = str(vl_convert.javascript_bundle(f"window.{GLOBAL} = vegaEmbed;"))
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")

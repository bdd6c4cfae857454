"""References of docstrings: bars are text, and a name that is described elsewhere, or only in the code, is found."""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from api_pages import MODULES, homes
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_LITERAL = re.compile(r"(``.*?``|:\w+:`[^`]*`)")


def _escape_bars(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """``|M|`` is a formula in our docstrings, never a substitution; formulas in LaTeX are left alone."""
    block = None
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if block is not None and line.strip() and indent <= block:
            block = None
        if line.lstrip().startswith((".. math::", ".. code", ">>>")) or line.rstrip().endswith("::"):
            block = indent
        elif block is None:
            parts = _LITERAL.split(line)
            lines[index] = "".join(p if k % 2 else p.replace("|", r"\|") for k, p in enumerate(parts))


def _find(name: str) -> Any:
    """The object of a dotted name, or None."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part) and part not in getattr(found, "__annotations__", {}):
                return None
            found = getattr(found, part, None)
        return found if found is not None else builtins
    return None


def _qualify(app: Sphinx, doctree: nodes.document) -> None:
    """A short name in an annotation means what it means in its module, also where others have one of that name."""
    for node in doctree.findall(pending_xref):
        target, module = str(node.get("reftarget", "")), node.get("py:module")
        if node.get("refdomain") != "py" or not module or not target.isidentifier():
            continue
        meant = _find(f"{module}.{target}")
        for (_, name), home in homes().items() if meant is not None else ():
            if name == target and _find(f"{home}.{name}") is meant:
                node["reftarget"] = f"{home}.{name}"
                break


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Node | None:
    """A name that is there in the code is linked to where it is described, else shown as text; others are errors."""
    if node.get("refdomain") != "py":
        return None
    target, module, inside = node["reftarget"], node.get("py:module"), node.get("py:class")
    names = [f"{module}.{inside}.{target}", f"{module}.{target}", target]
    found_as = next((name for name in names if name.startswith("grokfast") and _find(name) is not None), None)
    if found_as is None:
        return None
    found, last = _find(found_as), found_as.rsplit(".", 1)[-1]
    places = {home for (_, name), home in homes().items() if name == last}
    domain = env.get_domain("py")
    for home in sorted(places):
        if _find(f"{home}.{last}") is found:
            pages = [page for page, name in MODULES.items() if name == home]
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", f"{home}.{last}", node, content
            ) or nodes.reference(
                "", "", content, refuri=app.builder.get_relative_uri(node["refdoc"], f"api/{pages[0]}")
            )
    return content


_TUTORIAL = re.compile(r"\]\(((?:\.\./)+)examples/tutorials/(?:(\w+)\.py)?\)")


def _tutorials(app: Sphinx, page: str, text: list[str]) -> None:
    """On a code host a link to a tutorial goes to its script, here to its page."""
    text[0] = _TUTORIAL.sub(lambda found: f"]({found[1][3:]}tutorials/{found[2] or 'index'}.rst)", text[0])


_TOCTREE = re.compile(r"^\.\. toctree::\n(?:[ \t]+\S.*\n|[ \t]*\n)*", re.MULTILINE)


def _named_once(app: Sphinx, page: str, text: list[str]) -> None:
    """The gallery lists its tutorials too, where ``_toc.yml`` has them: the sidebar would show each twice."""
    if page == "tutorials/index":
        text[0] = _TOCTREE.sub("", text[0])


_FOLDER = re.compile(r"\[([^\]]+)\]\(([\w./-]+/)\)")


def _folders(app: Sphinx, page: str, text: list[str]) -> None:
    """A folder that a code host shows has no page here: if it is there, its name is text."""
    here = Path(app.env.doc2path(page)).parent
    text[0] = _FOLDER.sub(lambda found: found[1] if (here / found[2]).is_dir() else found[0], text[0])


def _skip_aliases(app: Sphinx, what: str, name: str, found: object, skip: bool, options: object) -> bool | None:
    """Fields of named tuples stand among the class's attributes; Python's own words for them say nothing."""
    return True if (inspect.getdoc(found) or "").startswith("Alias for field number") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """As Sphinx wants it."""
    app.connect("autodoc-process-docstring", _escape_bars)
    app.connect("autodoc-skip-member", _skip_aliases)
    app.connect("doctree-read", _qualify)
    app.connect("missing-reference", _resolve)
    app.connect("source-read", _tutorials)
    app.connect("source-read", _folders)
    app.connect("source-read", _named_once)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""One page of the API reference for each module below, written before the site is built."""

from __future__ import annotations

import functools
import importlib
import inspect
from pathlib import Path

MODULES = {
    "runs": "grokfast.runs",
    "train": "grokfast.train",
    "training": "grokfast.training",
    "tasks": "grokfast.tasks",
    "models": "grokfast.models",
    "fisher": "grokfast.fisher",
    "pruning": "grokfast.pruning",
    "geometry": "grokfast.geometry",
    "learning_coefficient": "grokfast.learning_coefficient",
    "measures": "grokfast.measures",
    "observe": "grokfast.observe",
    "endmodel": "grokfast.endmodel",
    "ising": "grokfast.ising",
    "ising.exact": "grokfast.ising.exact",
    "ising.analysis": "grokfast.ising.analysis",
    "ising.scan": "grokfast.ising.scan",
    "figures": "grokfast.figures",
    "studies": "grokfast.studies",
    "sweep": "grokfast.sweep",
    "report.claims": "grokfast.report.claims",
    "paper": "grokfast.paper",
    "store": "grokfast.store",
    "ops": "grokfast.ops",
    "errors": "grokfast.errors",
}
"""Page of the API reference to module."""


def write(folder: Path) -> None:
    """Write the pages, each only if it has changed, so that Sphinx reads no page twice."""
    folder.mkdir(exist_ok=True)
    pages = {page: _page(name) for page, name in MODULES.items()}
    pages["index"] = _index()
    for old in folder.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for page, text in pages.items():
        file = folder / f"{page}.md"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def public_names(module: str) -> list[str]:
    """What a module offers: ``__all__``, or without it all that it defines without an underscore."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None)
    if names is None:
        names = [name for name, value in vars(found).items() if getattr(value, "__module__", None) == module]
    return sorted(name for name in names if not name.startswith("_"))


@functools.cache
def homes() -> dict[tuple[str, str], str]:
    """Where each name that a module offers is described: the listed module that it is defined nearest to."""
    found: dict[tuple[str, str], str] = {}
    first: dict[int, str] = {}
    for module in MODULES.values():
        for name in public_names(module):
            value = getattr(importlib.import_module(module), name)
            defined = getattr(value, "__module__", None) or ""
            above = [other for other in MODULES.values() if f"{defined}.".startswith(f"{other}.")]
            nearest = max(above, key=len, default=module)
            offers = name in public_names(nearest)
            found[module, name] = nearest if offers else first.setdefault(id(value), module)
    return found


def _page(module: str) -> str:
    names = public_names(module)
    own = [name for name in names if homes()[module, name] == module]
    other = [name for name in names if homes()[module, name] != module]
    lines = [f"# {module}", "", "```{eval-rst}", f".. automodule:: {module}", f"   :members: {', '.join(own)}", "```"]
    if other:
        lines += [
            "",
            "Also here: " + ", ".join(f"{{py:obj}}`{name} <{homes()[module, name]}.{name}>`" for name in other),
        ]
    return "\n".join([*lines, ""])


def _index() -> str:
    """Every name that ``from grokfast import ...`` gives, with the first sentence of its docstring."""
    import grokfast

    lines = [
        "# API reference",
        "",
        "Every public name, with formula, shapes, units, errors and source. What `from grokfast import ...` gives:",
        "",
        "| name | |",
        "|---|---|",
    ]
    for name in grokfast.__all__:
        value = getattr(grokfast, name)
        home = next(where for (_, offered), where in homes().items() if offered == name)
        first = (inspect.getdoc(value) or "").splitlines()[0].replace("|", "\\|").replace("``", "`")
        lines.append(f"| {{py:obj}}`{name} <{home}.{name}>` | {first} |")
    lines += ["", "By module:", "", *(f"- [{name}]({page}.md)" for page, name in MODULES.items()), ""]
    return "\n".join(lines)

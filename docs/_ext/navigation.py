"""The order of pages: that of ``_toc.yml``, and every page that it does not name at the end."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml


def write(plan: Path, whole: Path) -> None:
    """Complete the plan.

    Args:
        plan: ``_toc.yml``, beside the pages.
        whole: Where the whole order goes.

    Raises:
        ValueError: If a page is named twice: it would stand twice in the sidebar.
    """
    order = yaml.safe_load(plan.read_text())
    named = [order["root"], *_named(order["subtrees"])]
    pages = [file.relative_to(plan.parent).with_suffix("").as_posix() for file in plan.parent.rglob("*.md")]
    # The index of a folder stands above the pattern of its pages.
    twice = [page for page in pages if sum(fnmatch(page, name) for name in named) > 1 and not page.endswith("/index")]
    if twice:
        raise ValueError(f"{plan} names twice: {', '.join(twice)}")
    left = [page for page in sorted(pages) if not any(fnmatch(page, name) for name in named)]
    if left:
        order["subtrees"].append({"caption": "More", "entries": [{"file": page} for page in left]})
    text = yaml.safe_dump(order, sort_keys=False, allow_unicode=True)
    if not whole.exists() or whole.read_text() != text:
        whole.write_text(text)


def _named(trees: list[dict[str, Any]]) -> Iterator[str]:
    for tree in trees:
        for entry in tree["entries"]:
            yield entry.get("file") or entry["glob"]
            yield from _named([entry] if "entries" in entry else [])

"""What pyproject.toml declares agrees with what is tried."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from grokfast import __all__ as public

ROOT = Path(__file__).resolve().parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNTRIED = {"torch"}  # of its lowest version there is no small build


def lower_bounds() -> dict[str, str]:
    wanted = [*DECLARED["dependencies"], *DECLARED["optional-dependencies"]["test"]]
    wanted += DECLARED["optional-dependencies"]["page"]
    found = dict(text.split(">=") for text in wanted if not text.startswith("grokfast["))
    return {name: version for name, version in found.items() if name not in UNTRIED}


def test_every_lower_bound_is_tried():
    lines = (ROOT / ".ci" / "lowest.txt").read_text().splitlines()
    tried = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    for name, version in lower_bounds().items():
        assert name in tried, f"{name} >= {version} is declared and tried by nothing"
        lowest, parts = tried[name].split("."), version.split(".")
        assert lowest[: len(parts)] == parts, f"{name} >= {version} is declared, {tried[name]} is tried"
        assert not any(int(part) for part in lowest[len(parts) :]), (
            f"{name} {tried[name]} is not the lowest of {version}"
        )


def test_the_citation_says_the_declared_version_and_licence():
    text = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (\S+)$", text, re.MULTILINE)[1] == DECLARED["version"]
    assert re.search(r"^license: (\S+)$", text, re.MULTILINE)[1] == DECLARED["license"]


def test_every_public_name_has_a_page_of_the_reference():
    """The reference describes what the listed modules offer; each name of the root comes from one of them."""
    import sys

    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    try:
        import api_pages
    finally:
        sys.path.pop(0)
    offered = {name for module in api_pages.MODULES.values() for name in api_pages.public_names(module)}
    assert set(public) <= offered


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150

"""The tables of docs/mutants.md: a row for each part, replaced when the part is run again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

_HEAD = {
    "python": "| part | can be planted | planted | seed | killed | harmless | survived |",
    "kernels": "| kernel | planted | killed | harmless | survived |",
}


def write_rows(page: Path, kind: str, rows: dict[str, list[str]]) -> None:
    """Put rows, by what stands in their first cell, into the table of a kind, and its sum under it."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {kind} -->\n", f"<!-- end of {kind} -->\n"
    before, rest = text.split(begin)
    old, after = rest.split(end)
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in old.splitlines()[2:] if line.startswith("|")]
    kept = {row[0]: row for row in cells if not row[0].startswith("**")} | rows
    ordered = [kept[name] for name in sorted(kept)]
    counted = [k for k, head in enumerate(_HEAD[kind].strip("|").split("|")) if k and head.strip() != "seed"]
    width = len(ordered[0])
    total = ["**all**", *("" for _ in range(width - 1))]
    for k in counted:
        total[k] = str(sum(int(row[k]) for row in ordered))
    lines = [_HEAD[kind], "|---" * width + "|", *("| " + " | ".join(row) + " |" for row in [*ordered, total])]
    page.write_text(before + begin + "\n".join(lines) + "\n" + end + after, encoding="utf-8")


def write_table(page: Path, parts: list[str], counts: Counter[str], total: int, seed: int) -> None:
    """The row of what was planted in parts of the package."""
    killed = counts["killed"] + counts["timeout"]
    survived = counts["survived"] + counts["not run"]
    row = [
        ", ".join(parts),
        str(total),
        str(counts.total()),
        str(seed),
        str(killed),
        str(counts["harmless"]),
        str(survived),
    ]
    write_rows(page, "python", {row[0]: row})

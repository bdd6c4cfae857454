"""A store looked through, and texts that people read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from grokfast import Store
from grokfast.errors import StoreError
from grokfast.store import check_store
from grokfast.store.atomic import sync, write_page, write_sealed
from grokfast.store.checking import SWEEPS
from grokfast.store.homes import RENAMED


@pytest.mark.parametrize("name", [RENAMED, f"{SWEEPS}/one.json"])
def test_a_byte_of_a_file_beside_the_runs_is_named(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    store.publish("abc", {"value": 1.0}, {"epoch": np.arange(1, 3)}, {"checkpoints": {}, "arrays": {}})
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    write_sealed(file, {"names": {"old": "abc"}})
    health = check_store(store)
    assert health.messages == []
    assert health.sound == ["abc"]
    file.write_text(file.read_text().replace("old", "odd"))
    health = check_store(store)
    assert list(health.others) == [file]
    assert f"{file} is damaged" in health.messages[0]


def test_a_page_is_written_with_its_folder_or_the_error_names_it(tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    write_page(page, "a ≤ b\n")
    assert page.read_text(encoding="utf-8") == "a ≤ b\n"
    assert [file.name for file in page.parent.iterdir()] == ["page.html"]
    with pytest.raises(StoreError, match=r"page\.html/below cannot be written"):
        write_page(page / "below", "")


def test_what_is_forced_to_disk_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep forces thousands of files, and a process may hold a thousand."""
    opened, closed = list[int](), list[int]()

    def noting(call: Callable[..., int | None], into: list[int]) -> Callable[..., int | None]:
        def noted(*given: object) -> int | None:
            result = call(*given)
            into.append(int(str(given[0])) if result is None else result)
            return result

        return noted

    monkeypatch.setattr(os, "open", noting(os.open, opened))
    monkeypatch.setattr(os, "close", noting(os.close, closed))
    sync(tmp_path)
    monkeypatch.undo()
    assert len(opened) == 1
    assert closed == opened

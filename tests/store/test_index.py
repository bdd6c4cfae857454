from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grokfast.errors import StoreError
from grokfast.runs import load
from grokfast.store import Store, indexed_rows


def _publish(store: Store, key: str, value: float | None = 1.0, **more: Any) -> Path:
    history = {"epoch": np.arange(1, 3), "loss": np.array([0.5, np.nan])}
    return store.publish(key, {"key": key, "value": value, **more}, history, {"arrays": {"x": np.arange(3.0)}})


def _rows(store: Store, version: str = "1") -> tuple[list[dict[str, Any]], list[str], int]:
    """Rows, messages, and how many runs were opened to get them."""
    opened = 0

    def row_of(record: Any) -> dict[str, Any]:
        nonlocal opened
        opened += 1
        return dict(record)

    rows, damaged = indexed_rows(store, row_of, version)
    return rows, damaged, opened


def test_a_second_look_opens_no_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _publish(store, "b", None)
    _publish(store, "a", 0.1 + 0.2, name="x")
    first = _rows(store)
    assert first == ([{"key": "a", "name": "x", "value": 0.1 + 0.2}, {"key": "b", "value": None}], [], 2)
    assert _rows(store) == (first[0], [], 0)


def test_new_retrained_and_removed_runs_are_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key in "abc":
        _publish(store, key)
    _rows(store)
    _publish(store, "a", 7.0)
    _publish(store, "d")
    os.rename(tmp_path / "b", tmp_path / ".gone")
    rows, damaged, opened = _rows(store)
    assert [(row["key"], row["value"]) for row in rows] == [("a", 7.0), ("c", 1.0), ("d", 1.0)]
    assert (damaged, opened) == ([], 2)
    assert _rows(store)[2] == 0


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"0\n{}"])
def test_a_missing_or_damaged_index_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    store = Store(tmp_path)
    _publish(store, "a")
    expected = _rows(store)[0]
    index = tmp_path / ".index.json"
    index.unlink() if content is None else index.write_bytes(content)
    assert _rows(store) == (expected, [], 1)
    assert _rows(store) == (expected, [], 0)


def test_one_wrong_digit_in_the_index_is_not_believed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _publish(store, "a", 12345.0)
    _rows(store)
    index = tmp_path / ".index.json"
    index.write_bytes(index.read_bytes().replace(b"12345.0", b"12346.0"))
    assert _rows(store)[0][0]["value"] == 12345.0


def test_an_index_of_other_columns_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _publish(store, "a")
    _rows(store, "1")
    assert _rows(store, "2")[2] == 1


def test_damaged_runs_are_named_and_the_rest_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key in "abcd":
        _publish(store, key)
    _rows(store)
    file = store.path("b") / "run.json"
    file.write_text(file.read_text()[:20])
    (store.path("c") / "run.json").unlink()
    (tmp_path / "d" / "current").unlink()
    os.utime(tmp_path / "d", (0, 0))
    rows, damaged, _ = _rows(store)
    assert [row["key"] for row in rows] == ["a"]
    assert len(damaged) == 3
    for name in ("b/v", "run c", "/d is damaged"):
        assert any(name in message for message in damaged)


@pytest.mark.parametrize("name", ["run.json", "history.parquet", "arrays.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_check_names_the_damaged_file(tmp_path: Path, name: str, damage: str) -> None:
    store = Store(tmp_path)
    _publish(store, "a")
    store.check("a")
    file = store.path("a") / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    if damage != "gone":
        file.write_bytes(content if damage == "flip" else content[:-5])
    with pytest.raises(StoreError, match=name):
        store.check("a")


def test_a_store_of_a_later_version_is_refused_with_advice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _publish(store, "a")
    (tmp_path / "store.json").write_text(json.dumps({"format": 99}))
    for read in (store.check_writable, store.check_readable, lambda: load(tmp_path)):
        with pytest.raises(StoreError, match=r"format 99.*upgrade"):
            read()


def test_a_run_of_a_later_schema_is_named(tmp_path: Path) -> None:
    _publish(Store(tmp_path), "a", schema=99)
    table = load(tmp_path)
    assert len(table) == 0
    assert "later version of grokfast (schema 99" in table.damaged[0]


def test_a_folder_that_cannot_be_written_is_read_without_an_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _publish(store, "a")
    (tmp_path / ".index.json").mkdir()
    assert _rows(store)[2] == 1
    assert _rows(store)[2] == 1

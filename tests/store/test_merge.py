"""Two versions of one training, what is refused on the way into a store, and what an upgrade notes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grokfast import Store
from grokfast.errors import ChangedError, ConfigError, StoreError
from grokfast.store import upgrade_store
from grokfast.store.families import family_members
from grokfast.store.identity import plain
from grokfast.store.merge import Content, merged
from grokfast.store.schema1 import upgraded

FORMAT_1 = Path(__file__).with_name("format-1")
OLD = "e8af617f294651f6"


def _content(columns: dict[str, str], problems: dict[str, str]) -> Content:
    described = [{"name": name, "meaning": meaning} for name, meaning in columns.items()]
    return Content({"columns": described, "problems": problems}, {"epoch": np.arange(1, 3)}, {})


def test_columns_and_problems_of_both_are_kept_the_later_ones_first() -> None:
    earlier = _content({"a": "before", "b": "before"}, {"a": "no a before", "b": "no b", "c": "no c"})
    later = _content({"d": "now", "a": "now"}, {"d": "no d"})
    record = merged(earlier, later).record
    assert [(each["name"], each["meaning"]) for each in record["columns"]] == [
        ("d", "now"),
        ("a", "now"),
        ("b", "before"),
    ]
    assert record["problems"] == {"b": "no b", "c": "no c", "d": "no d"}  # the later one has a


def test_a_run_that_was_published_meanwhile_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def publish(value: float, after: str | None) -> None:
        tensors: dict[str, dict[str, Any]] = {"checkpoints": {}, "arrays": {}}
        store.publish("abc", {"value": value}, {"epoch": np.arange(1, 3)}, tensors, after=after)

    publish(1.0, None)
    first = store.version("abc")
    for after in (None, "another"):
        with pytest.raises(ChangedError, match="published again meanwhile"):
            publish(2.0, after)
        assert store.version("abc") == first
    publish(3.0, first)
    assert store.version("abc") != first


@pytest.mark.parametrize(("text", "words"), [("", 0), ("v1 abc def", 3)])
def test_a_pointer_of_another_number_of_words_is_damaged(tmp_path: Path, text: str, words: int) -> None:
    store = Store(tmp_path)
    store.publish("abc", {}, {"epoch": np.arange(1, 3)}, {"checkpoints": {}, "arrays": {}})
    (tmp_path / "abc" / "current").write_text(text)
    with pytest.raises(StoreError, match=f"expected a version and a checksum, found {words} words"):
        store.path("abc")


def test_one_number_of_an_array_library_is_plain_and_an_array_of_one_is_not() -> None:
    assert plain("x", np.float32(0.5)) == 0.5
    assert plain("x", torch.tensor(2)) == 2
    for value in (np.array([1.0]), torch.tensor([1.0])):
        with pytest.raises(ConfigError, match="x must be a finite number"):
            plain("x", value)


def test_an_upgraded_run_is_noted_in_its_family(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(FORMAT_1, root)
    (key,) = upgrade_store(Store(root)).moved.values()
    record = Store(root).record(key)
    assert family_members(root, record["family"]) == [(record["config"]["epochs"], key)]


def test_what_the_first_runs_lack_is_what_they_had() -> None:
    (file,) = (FORMAT_1 / OLD).glob("*/run.json")
    record = json.loads(file.read_text())
    record["config"].pop("geometry_stiff", None)
    config = {**record["config"], "geometry": "logit-16+softmax-all"}
    without = upgraded({**record, "config": config})
    assert without == upgraded({**record, "config": {**config, "geometry_stiff": 0.0}})
    assert without != upgraded({**record, "config": {**config, "geometry_stiff": 1.0}})

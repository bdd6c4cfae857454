from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from grokfast.errors import StoreError
from grokfast.store import Store

RECORD = {"key": "abc", "config": {"w0": 1.0}, "note": "Grüße"}
HISTORY = {"epoch": np.arange(1, 4), "loss": np.array([3.0, np.nan, 1.0]), 'odd "name"': np.zeros(3)}
TENSORS = {"arrays": {"a": np.arange(6.0).reshape(2, 3).T}, "checkpoints": {"1/0.weight": np.float32([1, 2])}}


def test_round_trip(tmp_path):
    store = Store(tmp_path / "it's" / "runs")
    assert not store.has("abc")
    store.publish("abc", RECORD, HISTORY, TENSORS)
    assert store.has("abc")
    assert store.has("abc")
    assert store.record("abc") == RECORD
    for name, values in HISTORY.items():
        np.testing.assert_array_equal(store.history("abc")[name], values)
    np.testing.assert_array_equal(store.tensors("abc", "arrays")["a"], TENSORS["arrays"]["a"])
    assert store.tensors("abc", "checkpoints")["1/0.weight"].dtype == np.float32


def test_missing_values_are_null_in_the_file(tmp_path):
    import duckdb

    file = Store(tmp_path).publish("abc", RECORD, HISTORY, TENSORS) / "history.parquet"
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT count(*) FROM '{file}' WHERE loss IS NULL").fetchone() == (1,)


def test_republishing_replaces_the_version_and_keeps_the_old_folder(tmp_path):
    store = Store(tmp_path)
    first = store.publish("abc", RECORD, HISTORY, TENSORS)
    second = store.publish("abc", {**RECORD, "note": "new"}, HISTORY, TENSORS)
    assert first != second
    assert first.is_dir()
    assert store.path("abc") == second
    assert store.record("abc")["note"] == "new"


def test_a_failed_publication_leaves_nothing_and_the_earlier_version(tmp_path):
    store = Store(tmp_path)
    store.publish("abc", RECORD, HISTORY, TENSORS)
    before = sorted(path.name for path in (tmp_path / "abc").iterdir())
    with pytest.raises(StoreError, match="abc could not be written"):
        store.publish("abc", RECORD, {**HISTORY, "short": np.zeros(2)}, TENSORS)
    assert sorted(path.name for path in (tmp_path / "abc").iterdir()) == before
    assert store.record("abc") == RECORD


def test_drafts_of_writers_at_work_stay_and_those_of_killed_ones_go(tmp_path):
    store = Store(tmp_path)
    home = store.publish("abc", RECORD, HISTORY, TENSORS).parent
    drafts = {name: home / f".tmp-{name}" for name in ("at-work", "killed", "file-at-work", "file-killed")}
    for name, draft in drafts.items():
        draft.write_text("half") if name.startswith("file") else draft.mkdir()
        if name.endswith("killed"):
            long_ago = time.time() - 2 * 3600
            os.utime(draft, (long_ago, long_ago))
    store.publish("abc", RECORD, HISTORY, TENSORS)
    assert [name for name, draft in drafts.items() if draft.exists()] == ["at-work", "file-at-work"]


def test_a_process_killed_while_writing_leaves_the_earlier_version(tmp_path):
    store = Store(tmp_path)
    store.publish("abc", RECORD, HISTORY, TENSORS)
    code = (
        "import os, grokfast.store.version as s, numpy as np\n"
        "from grokfast.store import Store\n"
        "s.write_history = lambda *a: os._exit(9)\n"
        f"Store({str(tmp_path)!r}).publish('abc', {{}}, {{'epoch': np.arange(2)}}, {{}})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 9
    assert store.record("abc") == RECORD
    assert store.has("abc")


def test_damage_is_named(tmp_path):
    store = Store(tmp_path)
    folder = store.publish("abc", RECORD, HISTORY, TENSORS)
    (folder / "history.parquet").write_bytes(b"PAR1 nonsense")
    (folder / "arrays.safetensors").write_bytes(b"\x05")
    with pytest.raises(StoreError, match=r"history.parquet is damaged"):
        store.history("abc")
    with pytest.raises(StoreError, match=r"arrays.safetensors is damaged"):
        store.tensors("abc", "arrays")
    (folder / "arrays.safetensors").unlink()
    with pytest.raises(StoreError, match=r"arrays.safetensors is missing or damaged"):
        store.tensors("abc", "arrays")
    (folder / "run.json").write_text("{")
    with pytest.raises(StoreError, match=r"run.json is damaged"):
        store.tensors("abc", "arrays")
    with pytest.raises(StoreError, match=r"run.json is damaged"):
        store.record("abc")
    (folder / "run.json").unlink()
    with pytest.raises(StoreError, match=r"has no run\.json"):
        store.path("abc")
    with pytest.raises(StoreError, match="no run nope"):
        store.path("nope")


def test_a_folder_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreError, match="must be writable"):
        Store(file / "runs").check_writable()
    with pytest.raises(StoreError, match="not a folder"):
        Store(file).check_readable()


def test_a_read_only_folder(tmp_path, bound_by_permissions):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="must be writable"):
        Store(tmp_path).check_writable()
    tmp_path.chmod(0o700)
    Store(tmp_path).check_writable()


@pytest.mark.parametrize(
    "name", ["a=1", "loss=7", "x[1]", "b*c", "q?", "~t", "it's", "{a,b}", "a%20b", "epoch=3/loss=2"]
)
def test_what_a_folder_is_called_never_changes_what_is_read(tmp_path, name, monkeypatch):
    decoy = tmp_path / name.replace("[1]", "1").replace("*", "Z").replace("?", "Z")
    for folder, value in ((decoy, 8.0), (tmp_path / name, 7.0)):
        history = {"epoch": np.arange(1, 4), "loss": np.full(3, value)}
        Store(folder / "runs").publish("abc", {"key": "abc"}, history, {})
    for root in (tmp_path / name / "runs", Path(name) / "runs"):
        monkeypatch.chdir(tmp_path)
        if str(root).startswith("~"):
            continue  # someone's home
        history = Store(root).history("abc")
        assert list(history) == ["epoch", "loss"]
        assert history["epoch"].tolist() == [1, 2, 3]
        assert history["loss"].tolist() == [7.0] * 3
        assert Store(root).history("abc", ["loss"])["loss"].tolist() == [7.0] * 3


@pytest.mark.parametrize("key", ["", ".", "..", "../abc", "a/b", ".shards"])
def test_keys_that_are_no_names_are_refused(tmp_path, key):
    with pytest.raises(StoreError, match="expected the key of a run"):
        Store(tmp_path).record(key)


def test_a_home_folder_that_does_not_exist_is_said():
    with pytest.raises(StoreError, match="no home folder"):
        Store("~no-such-user-here/runs")

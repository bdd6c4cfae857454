"""Packed files: what comes back is what was packed, thinned and rounded as said."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from grokfast.errors import StoreError
from grokfast.store import Store, about_packed, derived, pack, read_derived, unpack
from grokfast.store.packed import BITS, MOST

RNG = np.random.default_rng(0)
EPOCHS = np.arange(1, 1001)


def _store(folder):
    store = Store(folder)
    sparse = np.full(1000, np.nan)
    sparse[[0, 9, 99, 999]] = RNG.uniform(size=4)
    for key in ("a", "b"):
        store.publish(
            key,
            {"key": key, "summary": {"c": 1 / 3}},
            {"epoch": EPOCHS, "loss": RNG.uniform(size=1000), "sparse": sparse, "never": np.full(1000, np.nan)},
            {
                "arrays": {"r": RNG.normal(size=(4, 3)), "ranks": np.array([0, 7, 174_192])},
                "checkpoints": {"1000/w": RNG.normal(size=5)},
            },
        )
    kept = {
        "gini": np.float64(1 / 3),
        "columns": np.frombuffer(b'{"a": 1}', np.uint8),
        "curve": np.array([np.nan, 0.5]),
    }
    derived(store, "a", "measure-gini", "7", lambda: kept)
    return store, sparse, kept


def test_what_comes_back(tmp_path):
    store, sparse, kept = _store(tmp_path / "runs")
    file = tmp_path / "some" / "stage.parquet"
    pack(store, ["a", "b"], file, {"study": "main-text"})
    assert about_packed(file) == {"study": "main-text"}
    assert unpack(file, tmp_path / "again") == ["a", "b"]
    again = Store(tmp_path / "again")
    for key in ("a", "b"):
        assert again.record(key) == {**store.record(key), "thinned": {"loss": 1000}}
        before, after = store.history(key), again.history(key)
        assert set(after) == set(before)
        rows = np.searchsorted(EPOCHS, after["epoch"])
        assert {1, 1000} <= set(after["epoch"].tolist())
        assert len(rows) <= MOST + 4
        seen = np.isfinite(after["loss"])
        np.testing.assert_allclose(after["loss"][seen], before["loss"][rows][seen], rtol=2.0**-BITS)
        looks = np.isfinite(after["sparse"])
        assert after["epoch"][looks].tolist() == [1, 10, 100, 1000]
        np.testing.assert_allclose(after["sparse"][looks], sparse[np.isfinite(sparse)], rtol=2.0**-BITS)
        assert np.isnan(after["never"]).all()
        arrays = again.tensors(key, "arrays")
        np.testing.assert_allclose(arrays["r"], store.tensors(key, "arrays")["r"], rtol=2.0**-BITS)
        assert arrays["ranks"].tolist() == [0, 7, 174_192]
        with pytest.raises(StoreError):
            again.tensors(key, "checkpoints")
    found = read_derived(again, "a", "measure-gini", "7")
    assert found["gini"] == 1 / 3
    assert found["columns"].tobytes() == b'{"a": 1}'
    np.testing.assert_array_equal(found["curve"], kept["curve"])
    assert read_derived(again, "a", "measure-gini", "8") is None
    assert read_derived(again, "b", "measure-gini", "7") is None


def test_packed_again_it_is_the_same_file(tmp_path):
    store, _, _ = _store(tmp_path / "runs")
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    pack(store, ["a", "b"], first, {"study": "main-text"})
    unpack(first, tmp_path / "again")
    pack(Store(tmp_path / "again"), ["a", "b"], second, about_packed(first))
    for one, other in ((first, second), (second, first)):
        assert duckdb.sql(f"SELECT * FROM '{one}' EXCEPT ALL SELECT * FROM '{other}'").fetchall() == []


def test_it_is_small_and_any_tool_reads_it(tmp_path):
    store, _, _ = _store(tmp_path / "runs")
    file = tmp_path / "stage.parquet"
    pack(store, ["a", "b"], file, {})
    assert file.stat().st_size < 15_000
    query = f"SELECT run, count(*) FROM '{file}' WHERE part = 'history' AND name = 'sparse' GROUP BY run ORDER BY run"
    assert duckdb.sql(query).fetchall() == [("a", 4), ("b", 4)]


def test_what_is_no_packed_file_is_refused(tmp_path):
    with pytest.raises(StoreError, match="cannot be read as a packed file"):
        unpack(tmp_path / "none.parquet", tmp_path / "to")
    duckdb.sql(f"COPY (SELECT 'x' AS part, 'y' AS text) TO '{tmp_path / 'other.parquet'}' (FORMAT parquet)")
    with pytest.raises(StoreError, match="is no packed file"):
        unpack(tmp_path / "other.parquet", tmp_path / "to")
    late = tmp_path / "late.parquet"
    duckdb.sql(f"COPY (SELECT 'about' AS part, '{{\"format\": 99}}' AS text) TO '{late}' (FORMAT parquet)")
    with pytest.raises(StoreError, match="format 99"):
        unpack(late, tmp_path / "to")

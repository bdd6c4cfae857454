from __future__ import annotations

import shutil

import numpy as np
import pytest

from grokfast import load
from grokfast.errors import StoreError
from grokfast.store import derived, derived_keys, read_derived


@pytest.fixture
def run(runs_folder, tmp_path):
    shutil.copytree(runs_folder, tmp_path / "runs", ignore=shutil.ignore_patterns(".measures"))
    return next(iter(load(tmp_path / "runs")))


class _Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"a": np.float64(2.5), "b": np.arange(6.0).reshape(2, 3).T}


def test_computed_once_and_the_same_when_read(run):
    compute = _Counted()
    first = derived(run.store, run.key, "x", "1", compute)
    second = derived(run.store, run.key, "x", "1", compute)
    assert compute.calls == 1
    for found in (first, second):
        assert found["a"].shape == ()
        assert found["a"] == 2.5
        np.testing.assert_array_equal(found["b"], np.arange(6.0).reshape(2, 3).T)
    assert derived_keys(run.store) == [run.key]


def test_another_version_of_the_computation_or_the_run_is_computed_again(run):
    compute = _Counted()
    derived(run.store, run.key, "x", "1", compute)
    derived(run.store, run.key, "x", "2", compute)
    assert compute.calls == 2
    assert read_derived(run.store, run.key, "x", "1") is None
    folder = run.store.path(run.key)
    newer = folder.with_name(folder.name + "0")
    shutil.copytree(folder, newer)
    pointer = run.store.root / run.key / "current"
    pointer.write_text(pointer.read_text().replace(folder.name, newer.name))
    derived(run.store, run.key, "x", "2", compute)
    assert compute.calls == 3


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_damage_is_computed_again(run, damage):
    compute = _Counted()
    derived(run.store, run.key, "x", "1", compute)
    file = run.store.root / ".measures" / run.key / "x.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
    file.write_bytes(content if damage == "flip" else content[: len(content) // 2] if damage == "cut" else b"")
    found = derived(run.store, run.key, "x", "1", compute)
    assert compute.calls == 2
    assert found["b"][2, 1] == 5
    assert read_derived(run.store, run.key, "x", "1") is not None


def test_a_read_only_store_is_measured_and_not_written(run, bound_by_permissions):
    run.store.root.chmod(0o555)
    try:
        assert derived(run.store, run.key, "x", "1", _Counted())["a"] == 2.5
        assert derived_keys(run.store) == []
    finally:
        run.store.root.chmod(0o755)


def test_where_nothing_can_be_written_it_is_computed_all_the_same(run):
    (run.store.root / ".measures").write_text("in the way")
    assert derived(run.store, run.key, "x", "1", _Counted())["a"] == 2.5


def test_runs_are_not_touched(run):
    derived(run.store, run.key, "x", "1", _Counted())
    run.store.check(run.key)
    assert len(load(run.store.root)) == 6
    with pytest.raises(StoreError, match="no run nothing"):
        derived(run.store, "nothing", "x", "1", _Counted())

"""Upgrading a store of the first format: nothing is lost, whenever it is killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from grokfast import ModularAddition, RunConfig, Store, load, train_runs
from grokfast.checksums import sha256_of
from grokfast.store import derived, prune_versions, read_derived, upgrade_store

FORMAT_1 = Path(__file__).with_name("format-1")
OLD = "e8af617f294651f6"
KEY = RunConfig(task=ModularAddition(P=5, hidden=(8,)), epochs=4, batch_size=8, w0=2.0, seed=3).key


def _seal(folder: Path) -> None:
    """Make checksums right again."""
    record = json.loads((folder / "run.json").read_text())
    record["files"] = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
        for file in folder.iterdir()
        if file.name != "run.json"
    }
    (folder / "run.json").write_text(json.dumps(record))
    (folder.parent / "current").write_text(f"{folder.name}\n{sha256_of(folder / 'run.json')}\n")


def _copy(store: Path, name: str, *, bits: int = 0, **config: Any) -> Path:
    """Another run of the first schema, from the one there; ``bits`` are added to a bias of its end model."""
    shutil.copytree(store / OLD, store / name)
    (folder,) = (entry for entry in (store / name).iterdir() if entry.is_dir())
    record = json.loads((folder / "run.json").read_text())
    record["config"] |= config
    record["key"] = name
    (folder / "run.json").write_text(json.dumps(record))
    if bits:
        tensors = load_file(folder / "checkpoints.safetensors")
        tensors["4/0.bias"] = (tensors["4/0.bias"].view(np.int32) + bits).view(np.float32)
        save_file(tensors, folder / "checkpoints.safetensors")
    _seal(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four old runs: one training seen twice with the same bits, once with others, and another training."""
    root = tmp_path / "runs"
    shutil.copytree(FORMAT_1, root)
    _copy(root, "aaaaaaaaaaaaaaaa", checkpoint_schedule="every:2", feature_schedule="every:1")
    _copy(root, "bbbbbbbbbbbbbbbb", bits=1, test_schedule="every:3")
    _copy(root, "cccccccccccccccc", seed=5)
    return root


def _content(root: Path) -> dict[str, Any]:
    """All that a store tells, by key."""
    return {
        run.key: (run.record, {n: v.tobytes() for n, v in run.history.items()}, run.checkpoint()["0.bias"].tolist())
        for run in load(root)
    }


def test_old_runs_lie_under_their_new_keys_and_are_found_by_both(folder: Path) -> None:
    store = Store(folder)
    for key in (OLD, "cccccccccccccccc"):
        derived(store, key, "x", "1", lambda: {"x": np.arange(3.0)})
    before = store.history("aaaaaaaaaaaaaaaa")
    done = upgrade_store(store)
    other = RunConfig(task=ModularAddition(P=5, hidden=(8,)), epochs=4, batch_size=8, w0=2.0, seed=5).key
    assert {**done.moved, **done.joined} == {"aaaaaaaaaaaaaaaa": KEY, OLD: KEY, "cccccccccccccccc": other}
    assert done.joined == {OLD: KEY}
    assert len(done.kept) == 1
    assert "bbbbbbbbbbbbbbbb is the same training" in done.kept[0]
    assert sorted(home.name for home in folder.iterdir() if (home / "current").exists()) == sorted(
        [KEY, other, "bbbbbbbbbbbbbbbb"]
    )
    store = Store(folder)
    assert store.format() == 2
    assert {run.key for run in load(folder)} == {KEY, other, "bbbbbbbbbbbbbbbb"}
    for key in (KEY, other, "bbbbbbbbbbbbbbbb"):
        store.check(key)
    for old, new in ((OLD, KEY), ("aaaaaaaaaaaaaaaa", KEY), ("cccccccccccccccc", other)):
        assert store.path(old) == store.path(new)
    record = json.loads((store.path(KEY) / "run.json").read_text())
    assert record["schema"] == 2
    assert record["looks"]["features"] == ["every:2", "every:1"]
    for name, values in before.items():
        np.testing.assert_array_equal(store.history(KEY)[name], values)
    for key in (KEY, other):
        found = read_derived(store, key, "x", "1")
        assert found is not None
        assert found["x"].tolist() == [0, 1, 2]
    assert upgrade_store(store).moved == {}


def test_an_upgrade_that_is_killed_anywhere_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine goes off before each file operation in turn, and stays off."""
    whole = folder.parent / "whole"
    shutil.copytree(folder, whole)
    upgrade_store(Store(whole))
    expected = _content(whole)

    class OffError(BaseException):
        pass

    import grokfast.store.atomic as atomic

    count, limit, off = 0, 0, False
    real = {name: getattr(Path, name) for name in ("rename", "replace", "mkdir")}
    real_sync = atomic.sync

    def tick() -> None:
        nonlocal count, off
        count += 1
        if off or count > limit:
            off = True
            raise OffError

    def shim(name: str) -> Any:
        def call(self: Path, *arguments: Any, **more: Any) -> Any:
            tick()
            return real[name](self, *arguments, **more)

        return call

    def sync(path: Path) -> None:
        tick()
        real_sync(path)

    rmtree = shutil.rmtree

    def remove(*arguments: Any, **more: Any) -> None:
        tick()
        rmtree(*arguments, **more)

    step, crashes = 0, 0
    while True:
        root = folder.parent / f"killed-{step}"
        shutil.copytree(folder, root)
        count, limit, off = 0, step, False
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(Path, name, shim(name))
            patch.setattr(shutil, "rmtree", remove)
            for module in ("atomic", "upgrade", "version"):
                patch.setattr(f"grokfast.store.{module}.sync", sync)
            try:
                upgrade_store(Store(root))
                finished = True
            except OffError:
                finished, crashes = False, crashes + 1
        # Every run is there, killed or not, under its old key.
        store = Store(root)
        for old in (OLD, "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"):
            store.check(old)
        assert not load(root).damaged
        upgrade_store(Store(root))
        assert _content(root) == expected, step
        rmtree(root)
        if finished:
            break
        step += 1 if step < 8 else 5
    assert crashes > 10


def test_a_damaged_run_stays_and_is_named(folder: Path) -> None:
    (file,) = (folder / "cccccccccccccccc").glob("*/run.json")
    file.write_text("{")
    done = upgrade_store(Store(folder))
    assert any("cccccccccccccccc cannot be read" in message for message in done.kept)
    assert Store(folder).format() == 1
    assert len(load(folder).damaged) == 1
    assert Store(folder).has(OLD)


def test_earlier_versions_are_pruned_but_not_where_the_one_in_force_is_damaged(tmp_path: Path) -> None:
    configs = [RunConfig(task=ModularAddition(P=5, hidden=(4,)), epochs=2, seed=seed) for seed in (0, 1)]
    store = Store(tmp_path)
    for _ in range(3):
        train_runs(configs, store, force=True)
    (store.path(configs[1].key) / "history.parquet").write_bytes(b"")
    before = store.path(configs[0].key)
    (tmp_path / configs[0].key / ".tmp-draft").mkdir()
    done = prune_versions(store)
    assert done.versions == 2
    assert done.bytes > 1000
    assert len(done.kept) == 1
    assert configs[1].key in done.kept[0]
    assert [folder.name for folder in (tmp_path / configs[0].key).glob("v*")] == [before.name]
    assert len(list((tmp_path / configs[1].key).glob("v*"))) == 3
    assert (tmp_path / configs[0].key / ".tmp-draft").is_dir()
    store.check(configs[0].key)
    assert prune_versions(store).versions == 0

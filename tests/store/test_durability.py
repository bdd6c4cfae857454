"""What is on disk when: the order of the calls, and what is left when the power is cut after any of them."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grokfast import ModularAddition, RunConfig, Store
from grokfast.store.atomic import write_json
from grokfast.training import Interrupted, initial_stack, load_state, run_epochs, save_state

_spec = importlib.util.spec_from_file_location("recording_disk", Path(__file__).with_name("disk.py"))
assert _spec is not None
assert _spec.loader is not None
_disk = importlib.util.module_from_spec(_spec)
sys.modules["recording_disk"] = _disk
_spec.loader.exec_module(_disk)
Disk, PowerCutError = _disk.Disk, _disk.PowerCutError

LEFT = ({"names": True, "contents": True}, {"names": False, "contents": False}, {"names": True, "contents": False})
"""All that was written is found; only what is certain; every name but only the certain contents."""


def _publish(root: Path, value: float) -> None:
    history = {"epoch": np.arange(1, 3), "loss": np.array([value, np.nan])}
    tensors = {"checkpoints": {"2/0.bias": np.array([value])}, "arrays": {"x": np.arange(3.0)}}
    Store(root).publish("abc", {"value": value}, history, tensors)


def _value(root: Path) -> float | None:
    """The value of the run that is found, all of whose files must be whole and tell the same; None if there is none."""
    store = Store(root)
    if not store.has("abc"):
        return None
    store.check("abc")
    value = store.record("abc")["value"]
    assert store.history("abc")["loss"][0] == value
    assert store.tensors("abc", "checkpoints")["2/0.bias"].tolist() == [value]
    return float(value)


def _cut_everywhere(
    tmp_path: Path,
    patch: pytest.MonkeyPatch,
    prepare: Callable[[Path], Any],
    write: Callable[[Path], Any],
    found: Callable[[Path], Any],
) -> list[list[Any]]:
    """What is found after a power cut after each call in turn, in each of the three ways; last after no cut."""
    results = []
    for limit in itertools.count(1):
        root = tmp_path / f"cut-{limit}"
        root.mkdir()
        prepare(root)
        disk = Disk(root, limit)
        cut = False
        with disk.watched(patch):
            try:
                write(root)
            except PowerCutError:
                cut = True
        results.append([found(disk.left(tmp_path / f"left-{limit}-{k}", **how)) for k, how in enumerate(LEFT)])
        disk.close()
        if not cut:
            return results
    raise AssertionError


@pytest.mark.parametrize("first", [True, False], ids=["first publication", "a further version"])
def test_a_power_cut_leaves_the_old_run_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    def prepare(root: Path) -> None:
        write_json(root / "store.json", {"format": 2})
        if not first:
            _publish(root, 1.0)

    results = _cut_everywhere(tmp_path, monkeypatch, prepare, lambda root: _publish(root, 2.0), _value)
    old = None if first else 1.0
    assert len(results) >= 12
    for found in results:
        assert set(found) <= {old, 2.0}
    # Whoever was told that it is published finds it.
    assert results[-1] == [2.0, 2.0, 2.0]
    assert results[0] == [old] * 3


def test_a_version_is_synced_before_its_name_and_its_name_before_the_pointer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(tmp_path, 1.0)
    disk = Disk(tmp_path)
    with disk.watched(monkeypatch):
        _publish(tmp_path, 2.0)
    events = disk.events
    disk.close()
    (version,) = [place for call, place in events if call == "rename" and "/v" in place]
    draft = version.replace("/v", "/.tmp-v")
    named = events.index(("rename", version))
    pointed = events.index(("rename", "abc/current"))
    files = {entry.name for entry in (tmp_path / version).iterdir()}
    assert files == {"run.json", "history.parquet", "checkpoints.safetensors", "arrays.safetensors"}
    for name in files:
        assert events.index(("fsync", f"{draft}/{name}")) < events.index(("fsync", draft)) < named
    pointer = next(place for call, place in events[named:] if call == "open" and place.endswith("-current"))
    order = [
        ("rename", version), ("fsync", "abc"), ("open", pointer), ("fsync", pointer), ("rename", "abc/current"),
        ("fsync", "abc"),
    ]  # fmt: skip
    assert [event for event in events[named:] if event in order] == order
    assert ("fsync", "abc") in events[pointed:]
    assert not [event for event in events if event[0] in ("open", "unlink") and event[1] == "abc/current"]


def test_a_power_cut_leaves_the_old_json_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(root: Path) -> str:
        return (root / "file.json").read_text()

    results = _cut_everywhere(
        tmp_path,
        monkeypatch,
        lambda root: write_json(root / "file.json", 1),
        lambda root: write_json(root / "file.json", 2),
        found,
    )
    assert {value for found in results for value in found} == {"1\n", "2\n"}
    assert results[-1] == ["2\n"] * 3


def test_a_power_cut_leaves_a_sound_state_to_go_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    stop = Event()
    stop.set()
    config = RunConfig(task=ModularAddition(P=5, hidden=(4,)), epochs=9, checkpoint_schedule="every:1")
    states = {}

    def save(root: Path, epochs: range) -> None:
        if epochs.start == 1 or root not in states:
            states[root] = initial_stack([config])
        for _ in epochs:
            with pytest.raises(Interrupted):
                run_epochs(states[root], stop=stop)
            save_state(states[root], root)

    def found(root: Path) -> int:
        loaded = load_state([config], root)
        assert loaded is not None
        assert sorted(loaded[0].checkpoints) == list(range(1, loaded[0].epoch + 1))
        return loaded[0].epoch

    results = _cut_everywhere(
        tmp_path,
        monkeypatch,
        lambda root: save(root, range(1, 4)),
        lambda root: save(root, range(4, 5)),
        found,
    )
    assert {epoch for epochs in results for epoch in epochs} == {3, 4}
    assert results[-1] == [4, 4, 4]

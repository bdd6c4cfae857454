"""`grokfast check` names what is damaged, and `--repair` trains it again to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grokfast import RunConfig, Store, train_runs
from grokfast.cli import main
from grokfast.store import check_store, derived, derived_damage
from grokfast.sweep import repair_store


def _flip(file: Path, byte: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[byte] ^= 1
    file.write_bytes(content)


def _status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_damage_is_named_and_repaired_to_the_bit(
    tmp_path: Path,
    small: Callable[..., list[RunConfig]],
    undisturbed: Callable[[list[RunConfig]], Store],
    assert_same_runs: Callable[[Store, Store], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    configs = small(4)
    folder = tmp_path / "runs"
    train_runs(configs, folder)
    store = Store(folder)
    keys = [config.key for config in configs]
    derived(store, keys[3], "measure-x", "1", lambda: {"x": [1.0]})
    main(["check", "--runs", str(folder)])  # sound: returns
    assert "4 runs are sound, 0 damaged" in capsys.readouterr().out
    _flip(store.path(keys[0]) / "history.parquet")
    _flip(store.path(keys[1]) / "checkpoints.safetensors")
    # What the record says beside the configuration is damaged: that still hashes to the run's key.
    record = store.path(keys[2]) / "run.json"
    record.write_text(record.read_text().replace('"status": "finished"', '"status": "finishee"'))
    entry = folder / ".measures" / keys[3] / "measure-x.safetensors"
    _flip(entry)
    (folder / "store.json").write_text('{"format": 0}')
    found = check_store(store)
    assert set(found.damaged) == set(keys[:3])
    assert found.sound == [keys[3]]
    assert list(found.derived) == [entry]
    assert [file.name for file in found.others] == ["store.json"]
    assert _status("check", "--runs", folder) == 1
    told = capsys.readouterr().out
    assert all(name in told for name in (*keys[:3], "history.parquet", "checkpoints.safetensors", "measure-x"))
    assert _status("check", "--runs", folder, "--repair", "--workers", 1) == 0
    told = capsys.readouterr().out
    assert "3 runs trained again, 1 damaged measures removed, 0 left" in told
    assert check_store(Store(folder)).messages == []
    assert derived_damage(Store(folder), keys[3], "measure-x") is None
    assert_same_runs(Store(folder), undisturbed(configs))


def test_a_record_that_cannot_be_relied_on_is_left_and_the_sweep_named(
    tmp_path: Path, small: Callable[..., list[RunConfig]]
) -> None:
    configs = small(2)
    train_runs(configs, tmp_path)
    store = Store(tmp_path)
    file = store.path(configs[0].key) / "run.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))  # another training: not its key
    found = check_store(store)
    done = repair_store(store, found, workers=1)
    assert done.trained == []
    assert "cannot be relied on" in done.left[0]
    assert "start the sweep" in done.left[0]
    assert set(check_store(store).damaged) == {configs[0].key}


def test_stores_without_checksums_are_read_and_said_to_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    old: Any = Path(__file__).parents[1] / "store" / "format-1"
    found = check_store(Store(old))
    assert found.messages == []
    assert len(found.sound) + len(found.unsealed) > 0


def test_a_run_published_before_there_were_checksums(
    tmp_path: Path, small: Callable[..., list[RunConfig]], capsys: pytest.CaptureFixture[str]
) -> None:
    (config,) = small(1)
    train_runs([config], tmp_path)
    store = Store(tmp_path)
    whole = store.history(config.key)
    version = store.path(config.key)
    # The pointer names the version alone, as early versions wrote it, and the record has no list of files.
    record = version / "run.json"
    text = record.read_text()
    first = text.index(' "files": {')
    record.write_text(text[:first] + text[text.index("\n },", first) + 5 :])
    (version.parent / "current").write_text(f"{version.name}\n")
    assert all((store.history(config.key)[name] == values).all() for name, values in whole.items() if name == "epoch")
    main(["check", "--runs", str(tmp_path)])
    told = capsys.readouterr().out
    assert "1 of them were published without checksums" in told
    assert "--upgrade" in told

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from grokfast import ModularAddition, Observer, RunConfig, train_stack
from grokfast.errors import InputError
from grokfast.training.loggers import TensorBoardLog, WandbLog

CONFIGS = [
    RunConfig(task=ModularAddition(P=7, hidden=(16,)), epochs=4, w0=w0, feature_schedule="every:2") for w0 in (0.5, 2.0)
]


def test_tensorboard_holds_what_the_history_holds_and_changes_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's own imports
        pytest.importorskip("tensorboard", reason="NOT INSTALLED: logging to TensorBoard was not tried")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        logged = train_stack(CONFIGS, observers=[Observer(TensorBoardLog(tmp_path), "every:1")])
    plain = train_stack(CONFIGS)
    for ours, theirs in zip(logged, plain, strict=True):
        assert ours.record["summary"] == theirs.record["summary"]
        assert list(ours.history) == list(theirs.history)
        events = EventAccumulator(str(tmp_path / ours.key))
        events.Reload()
        for name in ("train_loss", "test_accuracy"):
            found = events.Scalars(name)
            assert [event.step for event in found] == [1, 2, 3, 4]
            assert [event.value for event in found] == pytest.approx(theirs.history[name].tolist(), rel=1e-6)
        assert [event.step for event in events.Scalars("ipr_output")] == [2]


def test_wandb_writes_to_disk_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's own imports
        pytest.importorskip("wandb", reason="NOT INSTALLED: logging to Weights & Biases was not tried")
        monkeypatch.setenv("WANDB_SILENT", "true")
        train_stack(CONFIGS, observers=[Observer(WandbLog(tmp_path), "every:2")])
    folders = list((tmp_path / "wandb").glob("offline-run-*"))
    assert {folder.name.rsplit("-", 1)[1] for folder in folders} == {config.key for config in CONFIGS}
    assert all(any(folder.glob("*.wandb")) for folder in folders)


@pytest.mark.parametrize(("log", "module", "extra"), [
    (TensorBoardLog, "torch.utils.tensorboard", "tensorboard"),
    (WandbLog, "wandb", "wandb"),
])  # fmt: skip
def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: type, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"pip install 'grokfast\[{extra}\]'"):
        log(tmp_path)

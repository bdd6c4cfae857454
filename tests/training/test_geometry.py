"""Geometry while training: streamed equals stored, killed equals never killed, two passes give the run's own split."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from grokfast import GeometryMeasure, ModularAddition, Observer, RunConfig, Store, load, train_runs, trajectory_measures
from grokfast.errors import InputError
from grokfast.sweep.shard import Job, run_shard
from grokfast.training import Interrupted, StackState, StateKeeper, train_stack
from grokfast.training.shards import Shard

TASK = ModularAddition(P=7, hidden=(16,))
METRICS = "softmax-all+softmax-all-full+logit-5+logit-5-full"


def _configs(**fields: object) -> list[RunConfig]:
    plain = {"task": TASK, "epochs": 9, "batch_size": 8, "checkpoint_schedule": "every:1", "geometry": METRICS}
    return [RunConfig(**{**plain, **fields}, w0=w0, seed=seed) for w0, seed in ((0.5, 0), (1.0, 0), (4.0, 7))]


def _columns(history: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values for name, values in history.items() if name.startswith("geometry_")}


@pytest.mark.parametrize(("step", "schedule", "stiff"), [(1, "every:1", 0.0), (2, "every:3", 0.1), (3, "every:1", 0.0)])
def test_streamed_equals_stored(step: int, schedule: str, stiff: float) -> None:
    configs = _configs(geometry_step=step, geometry_schedule=schedule, geometry_stiff=stiff)
    for config, result in zip(configs, train_stack(configs), strict=True):
        columns = _columns(dict(result.history))
        assert len(columns) == (4 + 4 * 4 if not stiff else 4 + 4 * 10)
        checkpoints: dict[int, dict[str, torch.Tensor]] = {
            0: config.task.initial(config.seed, config.w0, torch.float32)
        }
        for name, values in result.tensors["checkpoints"].items():
            epoch, parameter = name.split("/", 1)
            checkpoints.setdefault(int(epoch), {})[parameter] = torch.from_numpy(values)
        x = config.task.encode(config.task.split(config.seed).test_inputs, torch.float32)
        stored = trajectory_measures(config.task.module(), checkpoints, x, METRICS, step=step, stiff=stiff)
        points = [e for e in range(1, 10) if e + step <= 9 and (schedule == "every:1" or e % 3 == 0)]
        at = [stored["epoch"].tolist().index(e) for e in points]
        for name, values in columns.items():
            assert np.flatnonzero(~np.isnan(values)).tolist() == [
                e - 1 for e in points if e >= step or "cos" not in name
            ]
            if not name.endswith("_undefined"):
                np.testing.assert_allclose(values[[e - 1 for e in points]], stored[name][at].numpy(), rtol=1e-6)


def test_the_expectation_over_training_inputs() -> None:
    """Metrics of training inputs are those of the same checkpoints on the train split, beside those of test inputs."""
    configs = _configs(geometry="logit-5-train+softmax-all-train+softmax-all", geometry_stiff=0.01)
    for config, result in zip(configs, train_stack(configs), strict=True):
        checkpoints = {0: config.task.initial(config.seed, config.w0, torch.float32)}
        for name, values in result.tensors["checkpoints"].items():
            epoch, parameter = name.split("/", 1)
            checkpoints.setdefault(int(epoch), {})[parameter] = torch.from_numpy(values)
        split = config.task.split(config.seed)
        for inputs, metrics, suffix in (
            (split.train_inputs, "logit-5+softmax-all", "_train"),
            (split.test_inputs, "softmax-all", ""),
        ):
            x = config.task.encode(inputs, torch.float32)
            stored = trajectory_measures(config.task.module(), checkpoints, x, metrics, stiff=0.01)
            for name, values in stored.items():
                if name == "epoch" or "euclidean" in name or name.endswith("_undefined"):
                    continue
                metric = next(m for m in ("logit_5", "softmax_all") if m in name)
                streamed = result.history[name.replace(metric, f"{metric}{suffix}")]
                np.testing.assert_allclose(streamed[:8], values[1:9].numpy(), rtol=1e-6, err_msg=name)
        assert "spectrum_logit_5_train" in result.tensors["arrays"]
        assert "stiff_share_softmax_all_train" in result.record["summary"]
    with pytest.raises(InputError, match="needs training inputs"):
        trajectory_measures(config.task.module(), checkpoints, x, "logit-all-train")


@pytest.mark.parametrize("fields", [{}, {"geometry_step": 2, "geometry_schedule": "every:3", "geometry_stiff": 0.1}])
def test_killed_and_resumed_equals_never_killed_to_the_bit(tmp_path: Path, fields: dict[str, object]) -> None:
    configs = _configs(**fields)
    expected = train_stack(configs)
    for epoch in (1, 4, 5, 8):
        stop = Event()

        def on_epoch(state: StackState, epoch: int = epoch, stop: Event = stop) -> None:
            if state.epoch == epoch:
                stop.set()

        with pytest.raises(Interrupted):
            train_stack(configs, on_epoch=on_epoch, stop=stop, keeper=StateKeeper(tmp_path))
    found = train_stack(configs, keeper=StateKeeper(tmp_path, every=0))
    for a, b in zip(found, expected, strict=True):
        assert list(a.history) == list(b.history)
        for name in b.history:
            np.testing.assert_array_equal(a.history[name], b.history[name])
        for name, values in b.tensors["arrays"].items():
            np.testing.assert_array_equal(a.tensors["arrays"][name], values)


def test_the_first_pass_can_be_cut_as_well(tmp_path: Path) -> None:
    configs = _configs(geometry_stiff=0.1)
    expected = train_stack(configs)
    stop = Event()
    stop.set()
    for _ in range(4):  # one epoch of the first pass each
        with pytest.raises(Interrupted):
            train_stack(configs, stop=stop, keeper=StateKeeper(tmp_path))
    assert not list(tmp_path.glob("state-*.json"))
    assert [file.name for file in (tmp_path / "first-pass").glob("state-*4.json")] == ["state-00000004.json"]
    for a, b in zip(train_stack(configs, keeper=StateKeeper(tmp_path)), expected, strict=True):
        for name in b.history:
            np.testing.assert_array_equal(a.history[name], b.history[name])


def test_looking_changes_no_bit_of_the_training_and_members_do_not_matter_to_each_other() -> None:
    watched, alone = train_stack(_configs(geometry_stiff=0.1)), train_stack(_configs(geometry=""))
    for a, b in zip(watched, alone, strict=True):
        for name, values in b.tensors["checkpoints"].items():
            assert a.tensors["checkpoints"][name].tobytes() == values.tobytes()
        assert not _columns(dict(b.history))
    (single,) = train_stack([_configs(geometry_stiff=0.1)[2]])
    for name, values in _columns(dict(watched[2].history)).items():
        np.testing.assert_allclose(single.history[name], values, rtol=1e-6, err_msg=name)


def test_spectrum_and_share_of_stiff_parameters_are_stored(tmp_path: Path) -> None:
    config = _configs(geometry="logit-5", geometry_schedule="never")[2]
    train_runs([config], Store(tmp_path / "runs"))
    (run,) = load(tmp_path / "runs")
    assert not _columns(run.history)
    spectrum = run.arrays["spectrum_logit_5"]
    assert run.arrays["spectrum_ranks"].tolist() == list(range(sum(t.numel() for t in run.checkpoint().values())))
    assert (np.diff(spectrum) <= 0).all()
    assert run.summary["stiff_share_logit_5"] == pytest.approx((spectrum >= 0.1).mean())


def test_a_shard_with_a_split_trains_and_clears_its_state(tmp_path: Path) -> None:
    receipt = run_shard(Shard(tuple(_configs(geometry_stiff=0.1))), Job(tmp_path))
    assert not receipt.failed
    assert len(receipt.published) == 3
    assert not list((tmp_path).rglob("state-*.json"))
    assert all("geometry_softmax_all_stiff_length" in run.history for run in load(tmp_path))


def test_an_observer_of_ones_own_gives_the_same_columns() -> None:
    own = train_stack(_configs(geometry=""), observers=[Observer(GeometryMeasure(METRICS, step=2), "every:3")])
    asked = train_stack(_configs(geometry_step=2, geometry_schedule="every:3"))
    for a, b in zip(own, asked, strict=True):
        assert _columns(dict(a.history)).keys() == _columns(dict(b.history)).keys()
        for name, values in _columns(dict(b.history)).items():
            np.testing.assert_array_equal(a.history[name], values)


def test_a_diverged_member_has_no_geometry_and_costs_the_others_nothing() -> None:
    configs = [
        RunConfig(
            task=TASK, epochs=5, optimizer="sgd", learning_rate=rate, seed=seed, geometry="logit-all", batch_size=8
        )
        for seed, rate in ((0, 0.05), (1, 1e30))
    ]
    with pytest.warns(RuntimeWarning, match="geometry in the metric logit-all is NaN at times"):
        good, bad = train_stack(configs)
    assert bad.record["status"] == "diverged"
    assert np.isfinite(good.history["geometry_logit_all_length"][:4]).all()
    assert np.isnan(bad.history["geometry_logit_all_cosine"]).all()


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_thousand_epochs_with_everything_measured_take_little_disk(tmp_path: Path, full: bool) -> None:
    """The task is small, but only the end model's own size depends on that: it is a checkpoint and left out."""
    metrics = ["softmax-all", "softmax-5", "logit-all", "logit-5"]
    metrics += [f"{name}-full" for name in metrics] if full else []
    config = RunConfig(
        task=ModularAddition(P=5, hidden=(16,)),
        epochs=1000,
        geometry="+".join(metrics),
        geometry_stiff=0.1,
        feature_schedule="every:1",
        compressibility_schedule="every:10",
    )
    train_runs([config], Store(tmp_path / "runs"))
    (run,) = load(tmp_path / "runs")
    files = [
        file for file in Store(tmp_path / "runs").path(run.key).iterdir() if file.name != "checkpoints.safetensors"
    ]
    assert {file.name for file in files} >= {"history.parquet", "arrays.safetensors", "run.json"}
    size = sum(file.stat().st_size for file in files)
    assert size <= 2_000_000, size
    assert len(_columns(run.history)) == 4 + 10 * len(metrics)
    assert np.isfinite(run.history["geometry_logit_5_sloppy_length"][:999]).all()

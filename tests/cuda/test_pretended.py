"""Whole runs, Fisher diagonals, geometry and pruning on the pretended device: as on the CPU, and within their budgets.

Launches of the package's kernels are the emulated GPU's count; those of torch's operations are counted one each.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grokfast.errors import InputError
from grokfast.fisher import fisher_diag
from grokfast.models import stack_members
from grokfast.ops import MOST_EPOCHS, mlp_losses
from grokfast.pruning import measure_pruning
from grokfast.tasks import Ising, ModularAddition
from grokfast.training import RunConfig, loop, train_stack
from grokfast.training.keeper import StateKeeper
from grokfast.training.loop import initial_stack, run_epochs

PAIRS = ModularAddition(P=7, hidden=(12,))
PICTURES = Ising(L=8, hidden=(5,), temperatures=4, snapshots=20, sweeps=3, train_size=20, test_size=20)
TASKS = pytest.mark.parametrize("task", [PAIRS, PICTURES], ids=["modular addition", "ising"])
LOOKS = {
    "epochs": 3, "checkpoint_schedule": "every:2", "feature_schedule": "every:2", "compressibility_schedule": "at:2",
    "geometry": "logit-8+softmax-8",
}  # fmt: skip
BARE = {"feature_schedule": "never", "compressibility_schedule": "never"}


def _stack(task, **more):
    options = {"epochs": 4, "batch_size": 8, "precision": "float64"} | more
    return [
        RunConfig(task=task, seed=seed, w0=w0, learning_rate=rate, **options)
        for seed, w0, rate in ((0, 1.0, 1e-3), (1, 2.0, 3e-3), (2, 1.0, 1e-3))
    ]


def _numbers(results):
    """All that results hold, by name."""
    for k, result in enumerate(results):
        for name, values in result.history.items():
            yield f"{k}/{name}", values
        for group, arrays in result.tensors.items():
            for name, values in arrays.items():
                yield f"{k}/{group}/{name}", values
        for name, value in result.record["summary"].items():
            if isinstance(value, float | int):
                yield f"{k}/summary/{name}", np.array(value)


def _assert_equal(found, wanted, tolerance):
    mine, theirs = dict(_numbers(found)), dict(_numbers(wanted))
    assert sorted(mine) == sorted(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, rtol=tolerance, atol=tolerance, err_msg=name)


@TASKS
@pytest.mark.parametrize(("looks", "precision", "tolerance"), [(LOOKS, "float64", 1e-8), ({}, "float32", 2e-3)])
def test_a_stack_with_its_measures(device, task, looks, precision, tolerance):
    """Training, features, pruning curves and the geometry in two metrics, the states kept between, and the record."""
    configs = _stack(task, precision=precision, **looks)[:2]
    wanted = train_stack(configs)
    assert not device.counted().ours
    found = train_stack(configs, device="cuda:0")
    assert device.counted().ours
    assert [result.record["status"] for result in found] == ["finished"] * 2
    assert {result.record["versions"]["instruction_set"].split(", ")[-1] for result in found} == {"pretended device"}
    _assert_equal(found, wanted, tolerance)


@pytest.mark.parametrize(
    ("task", "more"),
    [
        (PAIRS, {"reshuffle": True}),
        (PAIRS, {"train_metrics": "full"}),
        (PICTURES, {"reshuffle": True, "optimizer": "adamw"}),
        (PICTURES, {"optimizer": "sgd"}),
        (PICTURES, {"test_schedule": "every:3"}),
    ],
)
def test_other_ways_to_train(device, task, more):
    configs = _stack(task, **BARE, **more)[:2]
    _assert_equal(train_stack(configs, device="cuda:0"), train_stack(configs), 1e-8)


@TASKS
def test_a_member_that_diverges_in_the_middle_of_a_launch(device, task):
    configs = _stack(task, **BARE, epochs=6)
    configs[1] = RunConfig(**{**configs[1].__dict__, "learning_rate": 1e250})
    wanted, found = train_stack(configs), train_stack(configs, device="cuda:0")
    assert [result.record["diverged_epoch"] for result in found] == [None, wanted[1].record["diverged_epoch"], None]
    assert found[1].record["diverged_epoch"] in (1, 2)
    assert np.isnan(found[1].history["test_loss"][-1])
    _assert_equal([found[0], found[2]], [wanted[0], wanted[2]], 1e-8)


@TASKS
def test_a_stack_that_is_taken_up_again(device, task, tmp_path):
    configs = _stack(task, **BARE, epochs=7, checkpoint_schedule="every:3")[:2]
    whole = train_stack(configs, device="cuda:0")
    keeper = StateKeeper(tmp_path, 0.0)
    state = initial_stack(configs, "cuda:0")
    run_epochs(state, on_epoch=lambda state: state.epoch == 3 and keeper.save(state))
    resumed = StateKeeper(tmp_path, 1e6)
    _assert_equal(train_stack(configs, device="cuda:0", keeper=resumed), whole, 0)
    assert resumed.resumed_at == 3


STRIDE = 12  # instead of the 64 epochs between two looks of the host


def _counts(device, task, monkeypatch):
    """What each stride of a stack asks of the device, without the first and last, which make and keep more."""
    monkeypatch.setattr(loop, "ON_DEVICE", STRIDE)
    configs, found = _stack(task, **BARE, epochs=3 * STRIDE), []

    def on_epoch(state):
        found.append((state.stride, device.counted()))

    on_epoch.reads_only = True
    state = initial_stack(configs, "cuda:0")
    run_epochs(state, on_epoch=on_epoch)
    assert [stride for stride, _ in found] == [STRIDE] * 3
    return [counted for _, counted in found[1:-1]]


def test_budget_of_modular_addition(device, monkeypatch):
    """At most three launches a step: here one for the training of an epoch and two for its test, of several steps."""
    steps = -(-PAIRS.train_samples // 8)
    for counted in _counts(device, PAIRS, monkeypatch):
        assert counted.ours == 3 * STRIDE
        assert counted.ours + counted.torch.total() <= 55 * STRIDE
        assert counted.ours <= 3 * steps * STRIDE
        assert counted.waits == {"_to_copy": 1}  # the numbers of all epochs, at their end


def test_budget_of_ising(device, monkeypatch):
    """At most one launch in ten epochs, test passes included."""
    assert loop.ON_DEVICE == MOST_EPOCHS
    for counted in _counts(device, PICTURES, monkeypatch):
        assert counted.ours == 1
        assert counted.kernels == {"cnn_epochs": 1}
        assert counted.torch.total() <= 24  # whatever the number of epochs
        assert counted.waits == {"_to_copy": 1}


def test_a_callback_that_may_change_something_sees_every_epoch(device):
    seen, waits = [], []

    def on_epoch(state):
        seen.append(state.epoch)
        waits.append(device.counted().waits.total())
        if state.epoch == 3:
            state.params["0.bias"][1] += 1

    with pytest.raises(InputError, match=r"on_epoch changed parameter 0\.bias in epoch 3"):
        train_stack(_stack(PICTURES, **BARE)[:2], device="cuda:0", on_epoch=on_epoch)
    assert seen == [1, 2, 3]
    assert waits[1] == 2  # whether the epoch before was changed, and the numbers of this one


@TASKS
@pytest.mark.parametrize("kind", ["exact", "empirical"])
def test_a_fisher_diagonal_of_a_stack(device, task, kind):
    """As on the CPU; the exact one in at most ten launches, torch's included, for any number of members."""
    split = task.split(0)
    times = 140 if task is PAIRS else 5  # more samples than the CPU takes at once
    inputs = torch.cat([task.encode(split.test_inputs, torch.float32)] * times)
    labels = split.test_labels.repeat(times) if kind == "empirical" else None
    for members in (1, 6):
        params = stack_members([task.initial(seed, 1.0, torch.float32) for seed in range(members)])
        wanted = fisher_diag(task.module(), inputs, labels, params=params, kind=kind)
        there = {name: tensor.to("cuda:0") for name, tensor in params.items()}
        module, x = task.module().to("cuda:0"), inputs.to("cuda:0")
        y = None if labels is None else labels.to("cuda:0")
        device.counted()
        found = fisher_diag(module, x, y, params=there, kind=kind)
        counted = device.counted()
        assert counted.ours == 2
        if kind == "exact":
            assert counted.ours + counted.torch.total() <= 10, counted
            assert counted.waits.total() <= 4
        for name, value in wanted.items():
            assert found[name].is_cuda
            torch.testing.assert_close(found[name].cpu(), value, rtol=1e-5, atol=1e-6 * float(value.max()))


def test_pruning_of_a_module(device):
    split = PAIRS.split(0)

    def curve(where):
        x, y = PAIRS.encode(split.test_inputs, torch.float32).to(where), split.test_labels.to(where)
        torch.manual_seed(0)
        module = PAIRS.module().to(where)
        return measure_pruning(module, lambda net: float((net(x).argmax(-1) == y).double().mean()))

    assert curve("cuda:0").accuracy.tolist() == curve("cpu").accuracy.tolist()


def test_the_device_refuses_what_a_gpu_refuses(device):
    there, here = torch.ones(3, device="cuda:0"), torch.ones(3)
    with pytest.raises(RuntimeError, match="expected all tensors on cuda:0"):
        there + here
    with pytest.raises(RuntimeError, match="expected all tensors on cuda:0"):
        there[torch.tensor([0, 2])]
    with pytest.raises(TypeError, match="cuda:0"):
        there.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, generator=torch.Generator(), device="cuda:0")
    assert (there + torch.tensor(1.0)).cpu().tolist() == [2, 2, 2]
    params = [tensor.to("cuda:0") for tensor in stack_members([PAIRS.initial(0, 1.0, torch.float32)]).values()]
    pairs = torch.zeros(1, 2, 2, dtype=torch.int64, device="cuda:0")
    with pytest.raises(ValueError, match="on cuda:0, got"):
        mlp_losses(params, pairs, pairs[..., 0].cpu())


def test_the_device_counts_launches_and_waits(device):
    there = torch.ones(3, device="cuda:0")
    device.counted()
    assert bool((there[1:] * 2).sum() == 4)
    counted = device.counted()
    assert counted.torch == {"mul": 1, "sum": 1, "eq": 1}
    assert counted.waits == {"_local_scalar_dense": 1}
    there[there > 0]
    there.cpu()
    assert device.counted().waits == {"index": 1, "_to_copy": 1}

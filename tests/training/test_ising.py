from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.models import member
from grokfast.tasks import Ising, ModularAddition, stream
from grokfast.training import Observer, RunConfig, initial_stack, observe_quantities, run_epochs, train_stack

TASK = Ising(L=8, temperatures=6, snapshots=60, sweeps=10, train_size=60, test_size=80, hidden=(12,))


def _configs(**fields):
    rows = [(0.7, 0, 1e-3, 0.1), (1.0, 1, 3e-3, 0.0), (4.0, 2, 1e-2, 0.3)]
    defaults = {"task": TASK, "epochs": 3, "feature_schedule": "never", **fields}
    return [
        RunConfig(w0=w0, seed=seed, learning_rate=lr, weight_decay=decay, **defaults) for w0, seed, lr, decay in rows
    ]


def _plain_torch(config):
    """The same run in plain PyTorch: nn.Sequential, autograd, torch.optim.Adam."""
    dtype = config.precision.dtype
    split = config.task.split(config.seed)
    model = config.task.module().to(dtype)
    model.load_state_dict(config.task.initial(config.seed, config.w0, dtype))
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    order = torch.randperm(len(split.train_labels), generator=stream(config.seed, "order"))
    losses, accuracies = [], []
    for _ in range(config.epochs):
        for first in range(0, len(order), config.batch_size):
            batch = order[first : first + config.batch_size]
            logits = model(config.task.encode(split.train_inputs[batch], dtype))
            loss = nn.functional.cross_entropy(logits, split.train_labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            logits = model(config.task.encode(split.test_inputs, dtype))
            losses.append(nn.functional.cross_entropy(logits, split.test_labels).item())
            accuracies.append((logits.argmax(1) == split.test_labels).double().mean().item())
    return model, losses, accuracies


@pytest.mark.parametrize(("batch_size", "epochs"), [(60, 200), (13, 40)])
def test_two_hundred_steps_equal_plain_torch_in_float64(batch_size, epochs):
    configs = _configs(precision="float64", batch_size=batch_size, epochs=epochs)
    state = initial_stack(configs)
    run_epochs(state)
    for e, config in enumerate(configs):
        model, losses, accuracies = _plain_torch(config)
        for name, wanted in model.state_dict().items():
            assert (member(state.params, e)[name] - wanted).norm() <= 1e-9 * wanted.norm(), name
        np.testing.assert_allclose(state.history["test_loss"].rows[:, e], losses, rtol=1e-9)
        assert state.history["test_accuracy"].rows[:, e].tolist() == accuracies


def test_one_step_equals_plain_torch_in_float32():
    configs = _configs(epochs=1)
    state = initial_stack(configs)
    run_epochs(state)
    for e, config in enumerate(configs):
        for name, wanted in _plain_torch(config)[0].state_dict().items():
            assert (member(state.params, e)[name] - wanted).norm() <= 2e-6 * wanted.norm(), name


def test_compiled_and_plain_operations_agree_step_by_step(monkeypatch, core):
    """The whole-network operation against autograd through the block operation and through torch alone."""
    from grokfast.tasks.base import gradients_by_autograd, losses_of_logits

    configs = _configs(precision="float64", epochs=60)

    def path(state):
        seen = []
        run_epochs(state, on_epoch=lambda s: seen.append({k: v.clone() for k, v in s.params.items()}))
        return seen

    fused = path(initial_stack(configs))
    monkeypatch.setattr(Ising, "gradients", gradients_by_autograd)
    monkeypatch.setattr(Ising, "losses", losses_of_logits)
    for ours, theirs in zip(fused, path(initial_stack(configs)), strict=True):
        for name in ours:
            assert (ours[name] - theirs[name]).norm() <= 1e-9 * theirs[name].norm()


def test_a_member_does_not_depend_on_its_neighbours_to_the_bit(core):
    configs = _configs(epochs=5)
    whole, alone = train_stack(configs), train_stack(configs[1:2])
    for name, wanted in whole[1].tensors["checkpoints"].items():
        assert (alone[0].tensors["checkpoints"][name] == wanted).all(), name


def test_it_learns_the_phases():
    (result,) = train_stack([RunConfig(task=TASK, learning_rate=1e-2, weight_decay=1e-3, epochs=150)])
    assert result.record["status"] == "finished"
    assert result.record["summary"]["end_test_accuracy"] > 0.8
    assert result.record["summary"]["hidden_mean_energy"] > 0.3
    assert result.tensors["arrays"]["r_hidden"].shape == (12, 3)


def test_testing_less_often_changes_nothing_else():
    every = train_stack(_configs(epochs=23))
    some = train_stack(_configs(epochs=23, test_schedule="every:5"))
    for a, b in zip(every, some, strict=True):
        for name, wanted in a.tensors["checkpoints"].items():
            assert (b.tensors["checkpoints"][name] == wanted).all(), name
        np.testing.assert_array_equal(a.history["train_loss"], b.history["train_loss"])
        seen = np.flatnonzero(~np.isnan(b.history["test_accuracy"])) + 1
        assert seen.tolist() == [5, 10, 15, 20, 23]
        np.testing.assert_array_equal(a.history["test_accuracy"][seen - 1], b.history["test_accuracy"][seen - 1])
        assert b.record["summary"]["t_test"] in seen
        assert b.record["summary"]["t_train"] == a.record["summary"]["t_train"]


def test_features_of_ones_own():
    def stripes(inputs):
        return inputs[:, :, 0].float().mean(-1).var(-1)

    (result, *_) = train_stack(
        _configs(epochs=4), observers=[Observer(observe_quantities({"stripes": stripes}), "every:2")]
    )
    column = result.history["hidden_weighted_stripes"]
    assert np.isfinite(column).tolist() == [False, True, False, True]
    assert 0 < column[-1] <= 1
    wrong = Observer(observe_quantities({"bad": lambda inputs: inputs[:, :, 0]}), "last")
    with pytest.raises(InputError, match="quantity 'bad' must give one number a sample"):
        train_stack(_configs(epochs=1), observers=[wrong])
    modular = RunConfig(task=ModularAddition(P=5, hidden=(4,)), epochs=1)
    with pytest.raises(InputError, match="does not show"):
        train_stack([modular], observers=[wrong])


@pytest.mark.gpu
def test_cuda_equals_cpu():
    configs = _configs(precision="float64", epochs=20, feature_schedule="every:5")
    for cpu, gpu in zip(train_stack(configs), train_stack(configs, device="cuda"), strict=True):
        for name, wanted in cpu.tensors["checkpoints"].items():
            assert abs(gpu.tensors["checkpoints"][name] - wanted).max() <= 1e-9 * abs(wanted).max()
        np.testing.assert_allclose(
            gpu.history["hidden_mean_energy"], cpu.history["hidden_mean_energy"], rtol=1e-6, equal_nan=True
        )

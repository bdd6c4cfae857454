from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.errors import ConfigError
from grokfast.models import member
from grokfast.tasks import ModularAddition, stream
from grokfast.training import Observer, RunConfig, initial_stack, run_epochs, train_stack

TASK = ModularAddition(P=11, hidden=(24,))
DEEP = ModularAddition(P=7, hidden=(12, 10))


def _configs(**fields):
    """Four members that differ in everything a stack allows."""
    rows = [(0.5, 0, 5e-3, 1e-3), (1.0, 1, 1e-2, 0.0), (3.0, 2, 2e-3, 1e-2), (8.0, 3, 5e-3, 1e-4)]
    defaults = {"task": TASK, "epochs": 3, "batch_size": 16, "feature_schedule": "never", **fields}
    return [
        RunConfig(w0=w0, seed=seed, learning_rate=lr, weight_decay=decay, **defaults) for w0, seed, lr, decay in rows
    ]


def _plain_torch(config, steps):
    """The same run in plain PyTorch: two-hot inputs, nn.Sequential, torch.optim."""
    task, dtype = config.task, config.precision.dtype
    split = task.split(config.seed)
    model = task.module().to(dtype)
    model.load_state_dict(task.initial(config.seed, config.w0, dtype))
    rates = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer.value == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), momentum=config.momentum, **rates)
    elif config.optimizer.value == "adam":
        optimizer = torch.optim.Adam(model.parameters(), **rates)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), **rates)
    generator = stream(config.seed, "order")
    order = torch.randperm(len(split.train_labels), generator=generator)
    losses, correct, done = [], [], 0
    while True:
        epoch_loss = epoch_correct = 0.0
        for first in range(0, len(order), config.batch_size):
            batch = order[first : first + config.batch_size]
            logits = model(task.encode(split.train_inputs[batch], dtype))
            loss = nn.functional.cross_entropy(logits, split.train_labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * len(batch)
            epoch_correct += (logits.argmax(1) == split.train_labels[batch]).sum().item()
            done += 1
            if done == steps:
                return model, losses, correct
        losses.append(epoch_loss / len(order))
        correct.append(epoch_correct / len(order))
        if config.reshuffle:
            order = torch.randperm(len(order), generator=generator)


def _steps(config, epochs):
    n = len(config.task.split(0).train_labels)
    return epochs * -(-n // config.batch_size)


def _close(found, model, tolerance):
    for name, wanted in model.state_dict().items():
        assert (found[name] - wanted).norm() <= tolerance * wanted.norm(), name


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("task", [TASK, DEEP])
def test_one_step_equals_plain_torch(optimizer, precision, tolerance, task):
    configs = _configs(task=task, optimizer=optimizer, precision=precision, epochs=1, batch_size=10_000)
    state = initial_stack(configs)
    run_epochs(state)
    for e, config in enumerate(configs):
        _close(member(state.params, e), _plain_torch(config, 1)[0], tolerance)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_two_hundred_steps_equal_plain_torch_in_float64(optimizer):
    configs = _configs(optimizer=optimizer, momentum=0.7, precision="float64", epochs=34)
    assert _steps(configs[0], 34) >= 200
    state = initial_stack(configs)
    run_epochs(state)
    for e, config in enumerate(configs):
        model, losses, accuracies = _plain_torch(config, _steps(config, 34))
        _close(member(state.params, e), model, 1e-9)
        found = state.history["train_loss"].rows[: len(losses), e]
        torch.testing.assert_close(found, torch.tensor(losses, dtype=torch.float64), rtol=1e-9, atol=0)
        assert state.history["train_accuracy"].rows[: len(losses), e].tolist() == accuracies


def test_learning_times_are_the_first_epochs_at_095_and_at_09_of_the_maximum():
    (result,) = train_stack([RunConfig(task=TASK, epochs=120, batch_size=16, w0=4.0, feature_schedule="never")])
    for split in ("train", "test"):
        accuracy = result.history[f"{split}_accuracy"]
        for suffix, share in (("", 0.95), ("_90", 0.9)):
            first = int((accuracy >= share * accuracy.max()).argmax()) + 1
            assert result.record["summary"][f"t_{split}{suffix}"] == first
    assert result.record["summary"]["t_train_90"] < result.record["summary"]["t_train"]  # the share is looked at


def test_reshuffling_equals_plain_torch():
    configs = _configs(precision="float64", reshuffle=True)
    state = initial_stack(configs)
    run_epochs(state)
    _close(member(state.params, 2), _plain_torch(configs[2], _steps(configs[2], 3))[0], 1e-12)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_member_does_not_depend_on_its_neighbours_to_the_bit(precision):
    configs = _configs(precision=precision, reshuffle=True)
    whole = train_stack(configs)
    alone = train_stack(configs[2:3])
    swapped = train_stack([configs[2], configs[0]])
    for other in (alone[0], swapped[0]):
        for name, wanted in whole[2].tensors["checkpoints"].items():
            assert (other.tensors["checkpoints"][name] == wanted).all(), name
        for name, column in whole[2].history.items():
            torch.testing.assert_close(
                torch.from_numpy(other.history[name]),
                torch.from_numpy(column),
                rtol=0,
                atol=0,
                equal_nan=True,
            )


def test_same_seed_same_bits():
    first, second = train_stack(_configs()), train_stack(_configs())
    for a, b in zip(first, second, strict=True):
        assert all((b.tensors["checkpoints"][k] == v).all() for k, v in a.tensors["checkpoints"].items())


def test_full_train_metrics_are_those_of_the_model_after_the_epoch():
    configs = _configs(train_metrics="full", precision="float64")
    state = initial_stack(configs)
    run_epochs(state)
    split = TASK.split(1)
    model = TASK.module().double()
    model.load_state_dict(member(state.params, 1))
    logits = model(TASK.encode(split.train_inputs, torch.float64))
    assert state.history["train_accuracy_full"][-1][1] == (logits.argmax(1) == split.train_labels).double().mean()
    wanted = nn.functional.cross_entropy(logits, split.train_labels)
    torch.testing.assert_close(state.history["train_loss_full"][-1][1], wanted.detach())


def test_a_diverging_member_is_frozen_and_marked_and_the_others_go_on():
    good = _configs()
    bad = RunConfig(**{**vars(good[0]), "optimizer": "adam", "learning_rate": 1e30, "seed": 9})
    results = train_stack([good[0], bad, good[1]])
    assert [r.record["status"] for r in results] == ["finished", "diverged", "finished"]
    epoch = results[1].record["diverged_epoch"]
    assert 1 <= epoch <= 3
    history = results[1].history
    assert (~torch.from_numpy(history["test_loss"])[: epoch - 1].isnan()).all()
    assert torch.from_numpy(history["test_loss"])[epoch - 1 :].isnan().all()
    assert "t_train" not in results[1].record["summary"]
    for result, alone in zip((results[0], results[2]), train_stack(good[:2]), strict=True):
        for name, wanted in alone.tensors["checkpoints"].items():
            assert (result.tensors["checkpoints"][name] == wanted).all()


def test_observers_look_on_schedule_and_stream_into_the_history():
    seen = []

    def norm(snapshot):
        seen.append(snapshot.epoch)
        return {"first_norm": snapshot.params["0.weight"].flatten(1).norm(dim=1)}

    configs = _configs(epochs=6, feature_schedule="every:4", compressibility_schedule="at:2")
    results = train_stack(configs, observers=[Observer(norm, "every:2")])
    assert seen == [0, 2, 4, 6]  # epoch 0 is the trial
    for result in results:
        taken = {name: (~torch.from_numpy(c).isnan()).nonzero()[:, 0].tolist() for name, c in result.history.items()}
        assert taken["first_norm"] == [1, 3, 5]
        assert taken["ipr_output"] == [3, 5]
        assert taken["compressibility"] == [1, 5]
        assert taken["test_loss"] == list(range(6))
        assert result.history["compressibility"][-1] == result.record["summary"]["compressibility"]


def test_checkpoints_on_schedule():
    results = train_stack(_configs(epochs=4, checkpoint_schedule="at:1"))
    assert {name.split("/")[0] for name in results[0].tensors["checkpoints"]} == {"1", "4"}


def test_members_of_a_stack_must_share_what_is_shared():
    with pytest.raises(ConfigError, match="may differ in w0"):
        initial_stack([RunConfig(), RunConfig(batch_size=32)])


def test_denormals_are_flushed_only_while_training():
    seen = []

    def probe(snapshot):
        seen.append(bool(torch.full((16,), 1e-40).mul(1).any()))
        return {}

    torch.set_flush_denormal(False)
    train_stack(_configs(), observers=[Observer(probe, "last")])
    assert seen == [False, False]  # in the trial, and at the end
    assert torch.full((16,), 1e-40).mul(1).all()


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_cuda_equals_cpu(optimizer):
    configs = _configs(optimizer=optimizer, precision="float64")
    for cpu, gpu in zip(train_stack(configs), train_stack(configs, device="cuda"), strict=True):
        for name, wanted in cpu.tensors["checkpoints"].items():
            found = gpu.tensors["checkpoints"][name]
            assert abs(found - wanted).max() <= 1e-9 * abs(wanted).max()


def test_histories_are_kept_as_what_was_seen_and_made_whole_when_asked_for():
    from grokfast.training.history import History, Series

    series = Series()
    rows = torch.randn(600, 3, dtype=torch.float64)
    for row in rows:
        series.append(row)
    assert torch.equal(series.rows, rows)
    assert torch.equal(series[-1], rows[-1])
    again = Series(series.rows)
    again.append(rows[0])
    assert (len(series), len(again)) == (600, 601)
    history = History({"epoch": torch.arange(1, 5).numpy()}, {"x": ([2, 4], torch.tensor([0.5, 1.5]).numpy())}, 4)
    assert list(history) == ["epoch", "x"]
    assert [str(value) for value in history["x"]] == ["nan", "0.5", "nan", "1.5"]
    with pytest.raises(KeyError):
        history["y"]

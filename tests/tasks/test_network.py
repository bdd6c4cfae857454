from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from grokfast import Store, load
from grokfast.errors import ConfigError
from grokfast.models import stack_members
from grokfast.tasks import (
    Loss,
    NetworkTask,
    Split,
    Task,
    check_network,
    check_splits,
    evaluate,
    fresh_module,
    load_parameters,
    stream,
)
from grokfast.training import RunConfig, initial_stack, train_runs, train_stack

sys.path.insert(0, str(Path(__file__).parent))
from small_tasks import HingeProduct, OneHotProduct, Product, TiedProduct, Waves

TASKS = [Product(), OneHotProduct(), TiedProduct(), HingeProduct(), Waves()]


def losses_in_torch(task):
    """The task's loss in plain PyTorch, written anew."""
    return {
        "test-product": nn.functional.cross_entropy,
        "test-tied-product": nn.functional.cross_entropy,
        "test-one-hot-product": lambda y, t: nn.functional.mse_loss(y, nn.functional.one_hot(t, 7).double()),
        "test-hinge-product": nn.functional.multi_margin_loss,
        "test-waves": nn.functional.mse_loss,
    }[task.name]


def trained_in_torch(config, loss_function):
    task = config.task
    split = task.split(config.seed)
    order = torch.randperm(len(split.train_labels), generator=stream(config.seed, "order"))
    inputs, labels = split.train_inputs[order], split.train_labels[order]
    model = task.module().double()
    load_parameters(model, task.initial(config.seed, config.w0, torch.float64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    for _ in range(config.epochs):
        for first in range(0, len(labels), config.batch_size):
            batch = slice(first, first + config.batch_size)
            optimizer.zero_grad()
            loss_function(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return model, loss_function(model(split.test_inputs), split.test_labels).item()


def configs_of(task, members=1, **more):
    fixed = {"epochs": 5, "batch_size": 9, "precision": "float64", "learning_rate": 1e-2, "optimizer": "adamw"}
    seeds = range(members)
    return [
        RunConfig(task=task, seed=e, w0=1 + e / 2, weight_decay=0.1 * e, feature_schedule="never", **{**fixed, **more})
        for e in seeds
    ]


def end_of(result):
    last = f"{max(int(name.partition('/')[0]) for name in result.tensors['checkpoints'])}/"
    return {n.removeprefix(last): v for n, v in result.tensors["checkpoints"].items() if n.startswith(last)}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_fifty_steps_equal_a_plain_loop_in_torch(task):
    assert isinstance(task, Task)
    config = configs_of(task, 2, epochs=17)[1]  # three batches an epoch
    result = train_stack([config])[0]
    model, test_loss = trained_in_torch(config, losses_in_torch(task))
    ours, theirs = end_of(result), dict(model.named_parameters())
    assert set(ours) == set(theirs)
    for name, values in ours.items():
        assert np.abs(values - theirs[name].detach().numpy()).max() < 1e-9, name
    assert result.record["summary"]["end_test_loss"] == pytest.approx(test_loss, abs=1e-9)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_what_a_member_learns_does_not_depend_on_who_is_stacked_with_it(task, precision):
    configs = configs_of(task, 7, precision=precision)
    together = train_stack(configs)
    for e in (0, 3, 6):
        alone = train_stack(configs[e : e + 1])[0]
        for name, values in end_of(alone).items():
            assert np.array_equal(values, end_of(together[e])[name]), name
        for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            assert np.array_equal(alone.history[name], together[e].history[name], equal_nan=True), name


def test_two_threads_may_train_one_task():
    task = Product()
    configs = configs_of(task, 4, epochs=20)
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda config: train_stack([config])[0], configs))
    for config, result in zip(configs, at_once, strict=True):
        for name, values in end_of(train_stack([config])[0]).items():
            assert np.array_equal(values, end_of(result)[name]), name


def test_the_users_generator_is_left_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    train_stack(configs_of(Product(), 2))
    fresh_module(Product())
    assert torch.equal(before, torch.get_rng_state())


def test_initial_parameters_are_torchs_own_times_w0_under_the_runs_stream():
    task = Waves()
    one, twice = task.initial(3, 1.0, torch.float64), task.initial(3, 2.0, torch.float64)
    for name, values in one.items():
        assert torch.equal(2 * values, twice[name])
        assert torch.equal(values.float(), task.initial(3, 1.0, torch.float32)[name])
        assert not torch.equal(values, task.initial(4, 1.0, torch.float64)[name])
    bound = 1 / math.sqrt(9)
    assert 0.7 * bound < one["2.weight"].abs().max() <= bound


class Reset(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, 1))

    def reset(self, generator):
        with torch.no_grad():
            self.w.copy_(torch.rand(2, 1, generator=generator))

    def forward(self, x):
        return x @ self.w.T


@dataclass(frozen=True)
class ResetWaves(Waves):
    name: ClassVar[str] = "test-reset"

    def module(self):
        return Reset()


def test_a_modules_reset_draws_from_the_runs_stream():
    drawn = ResetWaves().initial(1, 3.0, torch.float64)["w"]
    expected = ResetWaves().initial(1, 1.0, torch.float64)["w"]
    assert torch.equal(drawn, 3 * expected)
    assert (expected > 0).all()
    assert not torch.equal(drawn, ResetWaves().initial(2, 3.0, torch.float64)["w"])
    train_stack(configs_of(ResetWaves(), 2))


def test_the_split_is_a_partition_and_label_noise_makes_exactly_its_share_wrong():
    split, noisy = (Product(P=7, train_fraction=0.6, label_noise=noise).split(2) for noise in (0.0, 0.25))
    pairs = torch.cat([split.train_inputs, split.test_inputs])
    assert len({tuple(pair) for pair in pairs.tolist()}) == 49
    assert len(split.train_labels) == 29 == Product(P=7, train_fraction=0.6).train_samples
    assert torch.equal(torch.cat([split.train_labels, split.test_labels]), pairs.prod(1) % 7)
    assert torch.equal(split.train_inputs, noisy.train_inputs)
    assert torch.equal(split.test_labels, noisy.test_labels)
    assert (split.train_labels != noisy.train_labels).sum() == round(0.25 * 29)
    assert 0 <= noisy.train_labels.min() <= noisy.train_labels.max() < 7


def test_a_regression_has_no_accuracy_and_never_zero():
    assert not Waves().has_accuracy
    assert Product().has_accuracy
    result = train_stack(configs_of(Waves(), 1, train_metrics="full"))[0]
    assert np.isnan(result.history["train_accuracy"]).all()
    assert np.isnan(result.history["test_accuracy"]).all()
    assert np.isfinite(result.history["test_loss"]).all()
    summary = result.record["summary"]
    assert summary["end_test_accuracy"] is None
    assert summary["end_train_accuracy"] is None
    assert result.record["status"] == "finished"
    assert not [name for name in summary if name.startswith(("t_train", "t_test", "groks"))]
    task = Waves()
    params = stack_members([task.initial(0, 1.0, torch.float64)])
    split = task.split(0)
    loss, accuracy = evaluate(task, params, split.test_inputs[None], split.test_labels[None])
    assert accuracy.isnan().all()
    assert loss.isfinite().all()


@pytest.mark.parametrize("task", [Product(), TiedProduct(), Waves()], ids=lambda task: task.name)
def test_a_stored_run_gives_its_network_back(task, tmp_path):
    config = RunConfig(task=task, epochs=6, batch_size=9, checkpoint_schedule="at:2", seed=1)
    train_runs([config], Store(tmp_path))
    (run,) = load(tmp_path)
    assert run.config.task == task
    model, split = run.model(), run.data()
    with torch.no_grad():
        outputs = model(task.encode(split.test_inputs, torch.float32))
        loss = task.judge(outputs, split.test_labels).loss
    assert loss.item() == pytest.approx(run.summary["end_test_loss"], rel=1e-5)
    earlier = dict(run.model(2).named_parameters())
    assert any(not torch.equal(earlier[name], values) for name, values in model.named_parameters())
    assert set(run.checkpoint(2)) == set(earlier)


@dataclass(frozen=True)
class OwnSplit(NetworkTask):
    name: ClassVar[str] = "test-own-split"

    def split(self, seed):
        x = torch.randn(10, 3, generator=stream(seed, "split"))
        labels = (x.sum(1) > 0).long()
        return Split(x[:6], labels[:6], x[6:], labels[6:])

    def module(self):
        return nn.Linear(3, 2)


def test_a_split_of_ones_own():
    assert OwnSplit().train_samples == 6
    assert RunConfig(task=OwnSplit()).batch_size == 6
    train_stack(configs_of(OwnSplit(), 3))
    with pytest.raises(ConfigError, match="has a split of its own, which train_fraction says nothing about"):
        OwnSplit(train_fraction=0.7)


class Changes(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.linear(x)


class RandomBuffer(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.register_buffer("features", torch.randn(3, 3))


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x))


class Couples(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Unused(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.head = nn.Parameter(torch.ones(4))


class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


class FromNumpy(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        with torch.no_grad():
            self.bias.copy_(torch.from_numpy(np.random.default_rng().normal(size=2)))


def frozen():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    return model


MODULES = {
    "dropout": (lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1)), "1, a Dropout with p=0.1"),
    "attention dropout": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.2), "dropout=0.2"),
    "running statistics": (
        lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
        "1, a BatchNorm1d, keeps running",
    ),
    "batch statistics": (lambda: nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), "depend on the batch"),
    "lazy": (lambda: nn.LazyLinear(2), "weight of task test-refused is lazy"),
    "frozen": (frozen, "bias of task test-refused is frozen"),
    "complex": (lambda: nn.Linear(3, 2, dtype=torch.complex64), "must be real"),
    "no parameters": (lambda: nn.ReLU(), "has no parameters"),
    "no module": (lambda: 3, "must give a torch.nn.Module, got int"),
    "changing buffer": (Changes, "a forward pass changes calls"),
    "random buffer": (RandomBuffer, "buffers features differ between seeds"),
    "random output": (lambda: Noisy(3, 2), "draws random numbers"),
    "coupled samples": (lambda: Couples(3, 2), "depends on the other samples"),
    "unused": (Unused, "does not depend on head"),
    "tuple": (lambda: Pair(3, 2), "must give one tensor"),
    "numpy": (FromNumpy, "bias started differently under one seed"),
    "wrong inputs": (lambda: nn.Linear(4, 2), r"does not take its inputs, torch.float64 \[4, 3\]"),
    "too few outputs": (lambda: nn.Linear(3, 1), r"C > 1, one output a class"),
}


def _try(task):
    split = task.split(0)
    check_splits(task, [split])
    check_network(task, split, stack_members([task.initial(0, 1.0, torch.float64)]))


@pytest.mark.parametrize("kind", MODULES)
def test_networks_that_cannot_train_are_refused_by_name(kind):
    build, words = MODULES[kind]

    @dataclass(frozen=True)
    class Refused(OwnSplit):
        name: ClassVar[str] = "test-refused"

        def module(self):
            return build()

    task = Refused()
    with pytest.raises(ConfigError, match=words):
        _try(task)


LABELS = {
    "int32": (torch.tensor([0, 1, 0, 1], dtype=torch.int32), Loss.CROSS_ENTROPY, "int64"),
    "targets under cross entropy": (torch.rand(4, 2), Loss.CROSS_ENTROPY, "cross-entropy needs classes"),
    "another width": (torch.rand(4, 3), Loss.MEAN_SQUARED_ERROR, r"must both be \[N, K\]"),
    "a vector of targets": (torch.rand(4), Loss.MEAN_SQUARED_ERROR, r"must both be \[N, K\]"),
    "not finite": (torch.full((4, 2), torch.nan), Loss.MEAN_SQUARED_ERROR, "finite"),
    "too large": (torch.tensor([0, 1, 2, 1]), Loss.CROSS_ENTROPY, "labels go from 0 to 2"),
    "negative": (torch.tensor([0, 1, -1, 1]), Loss.MEAN_SQUARED_ERROR, "labels go from -1 to 1"),
    "fewer than inputs": (torch.tensor([0, 1, 1]), Loss.CROSS_ENTROPY, "as many train inputs as labels"),
    "a sum": (
        torch.tensor([0, 1, 1, 0]),
        lambda self, y, t: nn.functional.cross_entropy(y, t, reduction="sum"),
        "mean over",
    ),
    "a matrix": (torch.tensor([0, 1, 1, 0]), lambda self, y, t: y, "one number a sample"),
    "no gradient": (torch.tensor([0, 1, 1, 0]), lambda self, y, t: y.detach().sum(1), "differentiated"),
    "no such loss": (torch.tensor([0, 1, 1, 0]), "cross-entropie", "loss must be one of"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_do_not_fit_are_refused(kind):
    labels, chosen, words = LABELS[kind]

    @dataclass(frozen=True)
    class Refused(OwnSplit):
        name: ClassVar[str] = "test-refused-labels"
        loss = chosen

        def split(self, seed):
            return Split(torch.ones(4, 3), labels, torch.ones(4, 3), labels)

    task = Refused()
    with pytest.raises(ConfigError, match=words):
        _try(task)


DATA = {
    "arrays": (lambda: (np.ones((4, 3)), np.ones(4)), "must give two tensors, inputs and labels, got ndarray, ndarray"),
    "inputs alone": (lambda: torch.ones(4, 3), "two tensors, inputs and labels, got Tensor"),
    "nothing": (lambda: None, "got NoneType"),
    "three": (lambda: (torch.ones(4, 3),) * 3, "got Tensor, Tensor, Tensor"),
    "another number": (lambda: (torch.ones(4, 3), torch.ones(5).long()), r"got \[4, 3\] and \[5\]"),
}


@pytest.mark.parametrize("kind", DATA)
def test_data_that_are_no_samples_with_labels_are_refused(kind):
    build, words = DATA[kind]

    @dataclass(frozen=True)
    class Refused(NetworkTask):
        name: ClassVar[str] = "test-refused-data"

        def data(self):
            return build()

        def module(self):
            return nn.Linear(3, 2)

    with pytest.raises(ConfigError, match=words):
        initial_stack([RunConfig(task=Refused())])


@dataclass(frozen=True)
class Arrays(OwnSplit):
    name: ClassVar[str] = "test-refused-arrays"

    def split(self, seed):
        return Split(np.ones((4, 3)), np.ones(4), np.ones((4, 3)), np.ones(4))


def test_a_split_of_arrays_is_refused():
    with pytest.raises(ConfigError, match="must be tensors, got ndarray, ndarray"):
        initial_stack([RunConfig(task=Arrays(), batch_size=4)])

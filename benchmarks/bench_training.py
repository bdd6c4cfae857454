"""Stacked training against JAX, plain PyTorch and the paper's authors' style of loop; the optimiser against torch's.

Times are of whole epochs with their test pass, per member. On a machine with more than one core run it on one
(``taskset -c 1``): JAX keeps threads of its own.
"""

from __future__ import annotations

import pytest
import torch
from partial_runs import train_until
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from grokfast.models import CnnShape, cnn, initial_cnn, stack_members, zeros_together
from grokfast.ops import BoundAdam, adam_step_, adam_step_reference, cnn_cross_entropy_direct
from grokfast.tasks import ModularAddition, stream
from grokfast.training import RunConfig, initial_stack


def _authors_epoch(config):
    """One epoch as the authors program it: DataLoader, two-hot vectors, default Adam, a test pass."""
    task = config.task
    split = task.split(config.seed)
    order = torch.randperm(len(split.train_labels), generator=stream(config.seed, "order"))
    train = TensorDataset(task.encode(split.train_inputs, torch.float32)[order], split.train_labels[order])
    test = TensorDataset(task.encode(split.test_inputs, torch.float32), split.test_labels)
    train_loader, test_loader = DataLoader(train, config.batch_size), DataLoader(test, config.batch_size)
    model = task.module()
    model.load_state_dict(task.initial(config.seed, config.w0, torch.float32))
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    loss_function = nn.CrossEntropyLoss()

    def epoch():
        totals = {}
        for name, loader in (("train", train_loader), ("test", test_loader)):
            loss_sum = correct = 0.0
            with torch.set_grad_enabled(name == "train"):
                for inputs, labels in loader:
                    logits = model(inputs)
                    loss = loss_function(logits, labels)
                    if name == "train":
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    loss_sum += loss.item() * len(labels)
                    correct += (logits.argmax(1) == labels).sum().item()
            totals[f"{name}_loss"], totals[f"{name}_accuracy"] = loss_sum / len(loader.dataset), correct
        return totals

    return epoch


def _preloaded_epoch(config):
    """One epoch as careful plain PyTorch: tensors in memory, torch's fused Adam, one number read at the end."""
    task = config.task
    split = task.split(config.seed)
    order = torch.randperm(len(split.train_labels), generator=stream(config.seed, "order"))
    x, y = task.encode(split.train_inputs, torch.float32)[order], split.train_labels[order]
    test_x, test_y = task.encode(split.test_inputs, torch.float32), split.test_labels
    model = task.module()
    model.load_state_dict(task.initial(config.seed, config.w0, torch.float32))
    options = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "fused": True}
    optimizer = torch.optim.Adam(model.parameters(), **options)

    def epoch():
        loss_sum = torch.zeros(())
        for inputs, labels in zip(x.split(config.batch_size), y.split(config.batch_size), strict=True):
            loss = nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach() * len(labels)
        with torch.no_grad():
            test_loss = nn.functional.cross_entropy(model(test_x), test_y)
        return {"train_loss": (loss_sum / len(y)).item(), "test_loss": test_loss.item()}

    return epoch


def _modular_stack(members, quick):
    task = ModularAddition(P=31, hidden=(64,)) if quick else ModularAddition()
    looks = {"feature_schedule": "never", "compressibility_schedule": "never", "checkpoint_schedule": "never"}
    configs = [RunConfig(task=task, seed=e, w0=1 + e / 4, epochs=400, **looks) for e in range(members)]
    return initial_stack(configs)


def _compare_epochs(side_by_side, state, rival, **how):
    def ours():
        train_until(state, state.epoch + 1)
        return {name: values[-1][0].item() for name, values in state.history.items()}

    mine, theirs = side_by_side(ours, rival, ours_counts=len(state.configs), **how)
    for name in ("train_loss", "test_loss"):
        assert mine[name] == pytest.approx(theirs[name], rel=2e-3), name


@pytest.fixture
def _flushed():
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("_flushed")
@pytest.mark.parametrize("members", [8, 1])
@pytest.mark.parametrize("rival", ["the authors' loop", "preloaded tensors, fused Adam"])
def test_epoch_against_torch(side_by_side, quick, members, rival):
    """Losses compared after as many epochs from the same start on both sides."""
    state = _modular_stack(members, quick)
    epoch = (_authors_epoch if rival == "the authors' loop" else _preloaded_epoch)(state.configs[0])
    _compare_epochs(side_by_side, state, epoch, name=rival)


@pytest.mark.usefixtures("_flushed")
@pytest.mark.parametrize("epoch", [0, 300])
@pytest.mark.parametrize("members", [8, 1])
def test_epoch_against_jax(side_by_side, quick, members, epoch):
    """At the start, and where training has made hidden units inactive; losses compared after as many epochs."""
    pytest.importorskip("jax", reason="JAX is not installed (pip install '.[bench]')")
    from jax_epoch import jax_epoch, jax_state

    state = _modular_stack(members, quick)
    train_until(state, max(1, min(epoch, 3) if quick else epoch))
    jax_now = jax_state(state.params, state.optimizer.moments, state.optimizer.step)
    rows = (state.optimizer.learning_rate, state.optimizer.weight_decay)
    run = jax_epoch(state.configs[0].task.P, state.configs[0].batch_size, state.train, state.test, rows)
    run(jax_now)  # compiles

    def theirs():
        nonlocal jax_now
        jax_now, loss, test_loss = run(jax_now)
        return {"train_loss": float(loss[0]), "test_loss": float(test_loss[0])}

    _compare_epochs(side_by_side, state, theirs, rival_counts=members, name="JAX")


def _ising_problem(members, samples, side=16):
    """The paper's CNNs from one start each, and ±1 snapshots: int8, as the engine keeps them."""
    shape = CnnShape(side, (2, 4), 3, (100,), 2)
    starts = [initial_cnn(shape, 1.0, torch.Generator().manual_seed(e), torch.float32) for e in range(members)]
    generator = torch.Generator().manual_seed(0)
    spins = torch.randint(0, 2, (samples, 1, side, side), generator=generator) * 2 - 1
    labels = torch.randint(0, 2, (samples,), generator=generator)
    model = cnn(shape)
    model.load_state_dict(starts[0])
    spins = spins.to(torch.int8)
    stacked = spins.expand(members, *spins.shape).contiguous(), labels.expand(members, -1).contiguous()
    return stack_members(starts), stacked, model, (spins.float(), labels)


@pytest.mark.parametrize("members", [8, 1])
def test_ising_step_against_plain_torch(side_by_side, quick, members):
    """One full-batch step of 300 snapshots, per member, against nn.Sequential with fused Adam: losses compared."""
    params, (spins, labels), model, (x, y) = _ising_problem(members, 30 if quick else 300)
    grads, means, squares = (zeros_together(params) for _ in range(3))
    rates = [torch.full((members,), value, dtype=torch.float64) for value in (1e-3, 1e-4)]
    groups = [list(group.values()) for group in (params, grads, means, squares)]
    adam = BoundAdam(*groups, *rates, torch.ones(members, dtype=torch.uint8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    steps, repeats = {"ours": 0}, 1 if quick else 5

    def ours():
        for _ in range(repeats):
            steps["ours"] += 1
            loss, _ = cnn_cross_entropy_direct(groups[0], spins, labels, groups[1])
            adam(steps["ours"], 0.9, 0.999, 1e-8, False)
        return loss[0].item()

    def theirs():
        for _ in range(repeats):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return loss.item()

    counts = {"ours_counts": members * repeats, "rival_counts": repeats}
    mine, rival = side_by_side(ours, theirs, rounds=15, **counts, name="nn.Sequential, fused Adam")
    assert mine == pytest.approx(rival, rel=1e-4)


@pytest.mark.parametrize("members", [8, 1])
def test_ising_test_pass_against_plain_torch(side_by_side, quick, members):
    """Loss and correct predictions on 1,000 snapshots, per member."""
    params, (spins, labels), model, (x, y) = _ising_problem(members, 40 if quick else 1000)

    def ours():
        loss, correct = cnn_cross_entropy_direct(list(params.values()), spins, labels, [])
        return loss[0].item(), correct[0].item()

    def theirs():
        with torch.no_grad():
            logits = model(x)
            return nn.functional.cross_entropy(logits, y).item(), (logits.argmax(1) == y).sum().item()

    mine, rival = side_by_side(ours, theirs, rounds=25, ours_counts=members, name="nn.Sequential")
    assert mine == pytest.approx(rival, rel=1e-5)


@pytest.mark.parametrize("members", [8, 1])
def test_ising_step_on_two_threads_against_one(side_by_side, quick, members):
    """The same step with two threads and with one: equal to the bit."""
    params, (spins, labels), *_ = _ising_problem(members, 30 if quick else 300)
    grads = list(zeros_together(params).values())

    def run(threads):
        torch.set_num_threads(threads)
        for _ in range(1 if quick else 5):
            loss, _ = cnn_cross_entropy_direct(list(params.values()), spins, labels, grads)
        torch.set_num_threads(1)
        return [loss, *(grad.clone() for grad in grads)]

    mine, rival = side_by_side(lambda: run(2), lambda: run(1), rounds=25, name="one thread")
    assert all(torch.equal(a, b) for a, b in zip(mine, rival, strict=True))


def _adam_problem(members, size):
    generator = torch.Generator().manual_seed(0)
    p, g = (torch.randn(members, size, generator=generator) for _ in range(2))
    rates = [torch.full((members,), value, dtype=torch.float64) for value in (5e-3, 3e-5)]
    return p, g, torch.zeros_like(p), torch.zeros_like(p), *rates, torch.ones(members, dtype=torch.uint8)


@pytest.mark.parametrize("rival", ["torch._fused_adam_ on member views", "torch operations"])
def test_adam_step(side_by_side, quick, rival):
    members, size = (2, 1000) if quick else (8, 174_193)
    p, g, m, v, lr, decay, active = _adam_problem(members, size)
    p2, g2, m2, v2, *_ = _adam_problem(members, size)
    counts = {"ours": 0, "rival": 0}

    def ours():
        counts["ours"] += 1
        adam_step_([p], [g], [m], [v], lr, decay, active, counts["ours"], 0.9, 0.999, 1e-8, False)
        return p

    def with_torch_operations():
        counts["rival"] += 1
        adam_step_reference([p2], [g2], [m2], [v2], lr, decay, active, counts["rival"], 0.9, 0.999, 1e-8, False)
        return p2

    def fused():
        counts["rival"] += 1
        steps = [torch.tensor(float(counts["rival"]))] * members
        views = [list(tensor) for tensor in (p2, g2, m2, v2)]
        options = {"lr": 5e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 3e-5, "eps": 1e-8}
        torch._fused_adam_(*views, [], steps, amsgrad=False, maximize=False, **options)
        return p2

    run = with_torch_operations if rival == "torch operations" else fused
    mine, theirs = side_by_side(ours, run, rounds=15, ours_counts=members, rival_counts=members, name=rival)
    assert counts["ours"] == counts["rival"]
    assert (mine - theirs).norm() <= 1e-6 * theirs.norm()

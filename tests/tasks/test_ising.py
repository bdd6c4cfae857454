from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch

from grokfast.errors import ConfigError, InputError
from grokfast.ising import ising_dataset, save_dataset
from grokfast.ising.dataset import IsingDataset, snapshot_quantities
from grokfast.ising.quantities import abs_magnetization, energy, magnetization
from grokfast.models import stack_members
from grokfast.tasks import Ising, Task, readings
from grokfast.training import RunConfig

SMALL = {"L": 8, "temperatures": 6, "snapshots": 20, "sweeps": 5, "train_size": 20, "test_size": 40}


@pytest.fixture
def task():
    return Ising(**SMALL, hidden=(7,))


def test_the_papers_task_and_its_training():
    task = Ising()
    assert isinstance(task, Task)
    assert sum(p.numel() for p in task.module().parameters()) == 6_798
    config = RunConfig(task=task)
    found = (config.epochs, config.batch_size, config.learning_rate, config.weight_decay)
    assert found == (100_000, 300, 1e-4, 0.1)
    assert RunConfig(task=Ising(train_size=100)).batch_size == 100


def test_split_is_balanced_disjoint_and_drawn_by_the_seed(task):
    split = task.split(3)
    assert split.train_inputs.shape == (20, 1, 8, 8)
    assert split.train_labels.sum() == 10
    assert split.test_labels.sum() == 20
    assert torch.equal(task.split(3).test_inputs, split.test_inputs)
    assert not torch.equal(task.split(4).train_inputs, split.train_inputs)
    cold = energy(split.test_inputs)[:, 0][split.test_labels == 0].mean()
    assert cold < energy(split.test_inputs)[:, 0][split.test_labels == 1].mean()


def test_label_noise_flips_its_share_and_nothing_else(task):
    noisy = dataclasses.replace(task, label_noise=0.3)
    clean, other = task.split(0), noisy.split(0)
    assert torch.equal(clean.train_inputs, other.train_inputs)
    assert torch.equal(clean.test_labels, other.test_labels)
    assert (clean.train_labels != other.train_labels).sum() == 6


def test_the_order_of_sites_is_part_of_the_task_and_its_default_of_no_key(task):
    drawn = dataclasses.replace(task, dynamics="glauber", order="random")
    swept = dataclasses.replace(drawn, order="checkerboard")
    assert not torch.equal(drawn.split(0).train_inputs, swept.split(0).train_inputs)
    assert RunConfig(task=drawn).key != RunConfig(task=swept).key
    assert RunConfig(task=Ising()).key == "7870289c70c5497a"  # as before there was an order


def test_quantities_equal_the_data_sets_own():
    data = ising_dataset(6, 4, 10, 3, seed=1)
    torch.testing.assert_close(energy(data.spins), data.energies, rtol=0, atol=1e-15)
    torch.testing.assert_close(magnetization(data.spins), data.magnetizations, rtol=0, atol=1e-15)
    assert torch.equal(abs_magnetization(data.spins), magnetization(data.spins).abs())
    lone = torch.ones(1, 4, 4, dtype=torch.int8)
    lone[0, 1, 2] = -1
    assert energy(lone) == -2 + 8 / 16


def test_round_trip_through_json():
    config = RunConfig(task=Ising(**SMALL, channels=(3, 5), hidden=(8, 4), dynamics="glauber"), epochs=7)
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.key == config.key
    assert RunConfig.from_dict({"task": {"name": "ising"}}) == RunConfig(task=Ising())


def _publish(path, data):
    items = [
        (s.astype(np.int64), float(label), float(t))
        for s, label, t in zip(data.spins.numpy(), data.labels.numpy(), data.temperatures.numpy(), strict=True)
    ]
    path.write_bytes(pickle.dumps(("description", items)))


def test_files_give_the_same_task_and_the_path_is_not_its_identity(tmp_path, task):
    data = ising_dataset(8, 6, 20, 5, seed=0)
    save_dataset(data, tmp_path / "a.safetensors")
    save_dataset(data, tmp_path / "b.npz")
    _publish(tmp_path / "c.pickle", data)
    sizes = {"L": 8, "train_size": 20, "test_size": 40, "hidden": (7,)}
    tasks = [Ising(data_file=str(tmp_path / name), **sizes) for name in ("a.safetensors", "b.npz", "c.pickle")]
    assert len({RunConfig(task=t).key for t in tasks}) == 1
    assert len({RunConfig(task=t).stack_key for t in tasks}) == 1
    assert RunConfig(task=tasks[0]).key != RunConfig(task=task).key
    for other in tasks:
        assert torch.equal(other.split(2).train_inputs, task.split(2).train_inputs)
        assert torch.equal(other.split(2).test_labels, task.split(2).test_labels)
    stored = RunConfig(task=tasks[2]).to_dict()
    (tmp_path / "c.pickle").unlink()
    moved = RunConfig.from_dict(stored)  # a stored run opens without its data
    with pytest.raises(ConfigError, match=r"c\.pickle cannot be used: No such file"):
        moved.task.split(0)
    save_dataset(ising_dataset(8, 6, 20, 5, seed=1), tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="the file has changed"):
        tasks[0].split(0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"L": 10}, "L must be divisible by 4: each of the 2 convolutions .* got 10"),
        ({"L": 8, "channels": (2, 2, 2, 2)}, "divisible by 16"),
        ({"kernel": 2}, "kernel must be odd"),
        ({"channels": ()}, "channels must name"),
        ({"hidden": (0,)}, "each of hidden must be an integer >= 1"),
        ({"train_size": 301}, "train_size must be even"),
        ({"test_size": 0}, "test_size"),
        ({"snapshots": 20}, "need 650 ordered snapshots, temperatures and snapshots give 500"),
        ({"temperatures": 1}, "need 650 disordered snapshots, temperatures and snapshots give 0"),
        ({"dynamics": "wolff"}, "dynamics must be 'metropolis' or 'glauber'"),
        ({"dynamics": "gluaber"}, "did you mean 'glauber'"),
        ({"label_noise": 2}, "label_noise"),
        ({"data_hash": "12"}, "give data_file as well"),
        ({"data_file": "/nowhere/x.npz"}, r"/nowhere/x.npz cannot be used: No such file"),
    ],
)
def test_rejects(fields, words):
    with pytest.raises(ConfigError, match=words):
        Ising(**fields)


def test_rejects_files_that_do_not_fit(tmp_path):
    data = ising_dataset(8, 6, 20, 5, seed=0)
    file = str(tmp_path / "a.npz")
    save_dataset(data, file)
    with pytest.raises(ConfigError, match=r"L is 16, but the snapshots of .* are 8x8"):
        Ising(data_file=file, train_size=2, test_size=2)
    with pytest.raises(ConfigError, match=r"need 650 ordered snapshots, .*a.npz has 60"):
        Ising(data_file=file, L=8)
    with pytest.raises(ConfigError, match="sweeps cannot be chosen as well"):
        Ising(data_file=file, L=8, sweeps=3)
    save_dataset(data.subset(data.labels == 1), file)
    with pytest.raises(ConfigError, match=r"need 2 ordered snapshots, .*a.npz has 0"):
        Ising(data_file=file, L=8, train_size=2, test_size=2)
    (tmp_path / "b.pickle").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ConfigError, match="must hold a list"):
        Ising(data_file=str(tmp_path / "b.pickle"))


@pytest.mark.parametrize("labels", [torch.zeros(4), torch.full((4,), 2), torch.zeros(3, dtype=torch.int64)])
def test_labels_of_the_wrong_kind_are_refused(labels):
    numbers = torch.zeros(4, dtype=torch.float64)
    with pytest.raises(InputError, match="labels must be"):
        IsingDataset(torch.ones(4, 8, 8, dtype=torch.int8), labels, numbers, numbers, numbers, {})


def test_losses_refuse_wrong_labels(task):
    params = stack_members([task.initial(0, 1.0, torch.float64)])
    inputs = task.split(0).test_inputs[None]
    for labels in (torch.zeros(1, 40), torch.full((1, 40), 2), torch.zeros(1, 3, dtype=torch.int64)):
        with pytest.raises(InputError, match="labels must"):
            task.losses(params, inputs, labels)


def test_features_equal_numpy(task):
    params = stack_members([task.initial(seed, 1.0, torch.float64) for seed in range(2)])
    params["7.weight"][1, 3] = 0  # a dead neuron
    splits = [task.split(seed) for seed in range(2)]
    inputs = torch.stack([split.test_inputs for split in splits])
    found = task.features(params, inputs)
    z = task.preactivations(params, inputs)
    for e in range(2):
        E, M = snapshot_quantities(inputs[e, :, 0].numpy())
        quantities = np.stack([E, M, abs(M)])
        for name, values in readings(z).items():
            columns = values[e].numpy()
            with np.errstate(invalid="ignore", divide="ignore"):
                r = np.corrcoef(columns.T, quantities)[: columns.shape[1], columns.shape[1] :]
            np.testing.assert_allclose(found.arrays[f"r_{name}"][e].numpy(), r, atol=1e-6)
            live = ~np.isnan(r).any(1)
            weights = abs(columns).sum(0) / abs(columns).sum()
            weighted = (weights[live, None] * abs(r[live])).sum(0) / weights[live].sum()
            for k, quantity in enumerate(("energy", "magnetization", "abs_magnetization")):
                assert found.scalars[f"{name}_mean_{quantity}"][e].item() == pytest.approx(abs(r[live, k]).mean())
                assert found.scalars[f"{name}_weighted_{quantity}"][e].item() == pytest.approx(weighted[k])
            led = np.bincount(abs(r[live]).argmax(1), minlength=3)
            shares = [found.scalars[f"{name}_led_{q}"][e].item() for q in ("energy", "magnetization")]
            assert shares == pytest.approx((led / live.sum())[:2])
            assert found.scalars[f"{name}_constant"][e] == (~live).sum()
        hidden = np.maximum(z["hidden"][e].numpy(), 0)
        best = abs(z["hidden"][e].numpy()).sum(0).argmax()
        np.testing.assert_array_equal(found.arrays["strongest"][e].numpy(), z["hidden"][e, :, best].numpy())
        live = hidden.std(0) > 0
        r = np.corrcoef(hidden[:, live].T, quantities)[: live.sum(), live.sum() :]
        found_post = found.scalars["hidden_post_mean_energy"][e].item()
        assert found_post == pytest.approx(abs(r[:, 0]).mean())
    assert found.scalars["hidden_constant"].tolist() == [0, 1]


def test_both_readings_of_the_maps(task):
    params = stack_members([task.initial(0, 1.0, torch.float64)])
    z = task.preactivations(params, task.split(0).test_inputs[None])
    found = readings(z)
    assert {name: values.shape[2] for name, values in found.items()} == {
        "conv1": 2 * 64,
        "channels1": 2,
        "conv2": 4 * 16,
        "channels2": 4,
        "hidden": 7,
        "output": 2,
    }
    torch.testing.assert_close(found["channels2"], z["conv2"].mean((3, 4)))


def test_a_plain_split_is_another_training_of_the_same_snapshots():
    fields = {"L": 8, "temperatures": 6, "snapshots": 40, "hidden": (5,)}
    whole = Ising(**fields, train_size=40, test_size=60)
    plain = Ising(**fields, train_size=40, test_size=60, stratified=False)
    assert (
        RunConfig(task=whole).key == RunConfig(task=Ising(**fields, train_size=40, test_size=60, stratified=True)).key
    )
    assert RunConfig(task=whole).key != RunConfig(task=plain).key
    assert int(whole.split(0).train_labels.sum()) == 20
    counts = {int(plain.split(seed).train_labels.sum()) for seed in range(8)}
    assert len(counts) > 1
    assert Ising(**fields, train_size=41, test_size=61, stratified=False).split(0).train_labels.shape == (41,)
    with pytest.raises(ConfigError, match="need as many snapshots together"):
        Ising(**fields, train_size=140, test_size=160, stratified=False)
    with pytest.raises(ConfigError, match="stratified must be of type bool"):
        Ising(stratified=1)

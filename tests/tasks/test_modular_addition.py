from __future__ import annotations

import pytest
import torch

from grokfast.errors import ConfigError
from grokfast.models import stack_members
from grokfast.tasks import ModularAddition, Task, evaluate, stream


def test_the_papers_sizes():
    task = ModularAddition()
    assert isinstance(task, Task)
    split = task.split(0)
    assert (len(split.train_labels), len(split.test_labels)) == (8938, 3831)
    assert sum(p.numel() for p in task.module().parameters()) == 174_193


@pytest.mark.parametrize("modulus", [2, 5, 12])
def test_the_split_is_a_partition_with_right_labels(modulus):
    split = ModularAddition(P=modulus, train_fraction=0.6).split(3)
    pairs = torch.cat([split.train_inputs, split.test_inputs])
    labels = torch.cat([split.train_labels, split.test_labels])
    assert len({tuple(pair) for pair in pairs.tolist()}) == modulus**2
    assert torch.equal(labels, (pairs[:, 0] + pairs[:, 1]) % modulus)


def test_seeds_differ_and_repeat():
    task = ModularAddition(P=7)
    assert torch.equal(task.split(1).train_inputs, task.split(1).train_inputs)
    assert not torch.equal(task.split(1).train_inputs, task.split(2).train_inputs)


def test_label_noise_makes_exactly_its_share_wrong_and_leaves_the_split():
    clean, noisy = ModularAddition(P=13).split(0), ModularAddition(P=13, label_noise=0.3).split(0)
    assert torch.equal(clean.train_inputs, noisy.train_inputs)
    assert torch.equal(clean.test_labels, noisy.test_labels)
    assert (clean.train_labels != noisy.train_labels).sum() == round(0.3 * len(clean.train_labels))
    every = ModularAddition(P=13, label_noise=1.0).split(0)
    assert (clean.train_labels != every.train_labels).all()
    assert set(every.train_labels.tolist()) <= set(range(13))


def test_streams_are_independent():
    draws = [torch.rand(4, generator=stream(seed, name)) for seed in (0, 1) for name in ("split", "order")]
    assert len({tuple(draw.tolist()) for draw in draws}) == 4


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"P": 1}, "P must be an integer >= 2, got 1"),
        ({"train_fraction": 0.0}, "train_fraction"),
        ({"train_fraction": 1.0}, "train_fraction"),
        ({"train_fraction": 0.01, "P": 3}, "at least one"),
        ({"label_noise": 1.5}, "label_noise"),
        ({"hidden": ()}, "hidden"),
        ({"hidden": (0,)}, "hidden width"),
    ],
)
def test_rejects(fields, words):
    with pytest.raises(ConfigError, match=words):
        ModularAddition(**fields)


def test_evaluate_equals_torch_on_the_whole_set():
    task = ModularAddition(P=31, hidden=(9,))
    params = stack_members([task.initial(seed, 2.0, torch.float64) for seed in range(2)])
    splits = [task.split(seed) for seed in range(2)]
    inputs = torch.stack([s.test_inputs for s in splits]).repeat(1, 3, 1)  # spans more than one block
    labels = torch.stack([s.test_labels for s in splits]).repeat(1, 3)
    loss, accuracy = evaluate(task, params, inputs, labels)
    for e in range(2):
        logits = task.logits(params, inputs)[e]
        torch.testing.assert_close(loss[e], torch.nn.functional.cross_entropy(logits, labels[e]))
        assert accuracy[e] == (logits.argmax(1) == labels[e]).double().mean()


def test_features_name_every_reading_and_count_the_dead():
    task = ModularAddition(P=11, hidden=(6, 4))
    params = stack_members([task.initial(seed, 1.0, torch.float64) for seed in range(2)])
    params["0.weight"][1, 2] = 0
    params["4.weight"][1, :, 3] = 0
    features = task.features(params, torch.empty(2, 0, 2))
    assert {name for name in features.scalars if name.startswith("ipr_output")} == {
        "ipr_output",
        "ipr_output_no_constant",
        "ipr_output_complex",
        "ipr_output_complex_no_constant",
    }
    assert len([name for name in features.scalars if name.startswith("ipr_input")]) == 8
    assert features.scalars["dead_input"].tolist() == [0, 1]
    assert features.scalars["dead_output"].tolist() == [0, 1]
    assert features.arrays["ipr_output"].shape == (2, 4)
    assert features.arrays["ipr_input"].shape == (2, 6)

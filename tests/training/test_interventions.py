"""A callback that changes a stack is refused, whatever it changes; one that looks is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from grokfast import ModularAddition, RunConfig, load, train_runs
from grokfast.errors import InputError
from grokfast.training import StackState, train_stack

CONFIGS = [
    RunConfig(task=ModularAddition(P=5, hidden=(4,)), epochs=3, seed=seed, reshuffle=True, w0=w0)
    for seed, w0 in ((0, 1.0), (1, 1e38))
]  # the second diverges, so that NaN is compared too


def _swap(state: StackState) -> None:
    bias = state.params["0.bias"]
    bias[:, [0, 1]] = bias[:, [1, 0]].clone()


def _replace(state: StackState) -> None:
    state.params["0.bias"] = state.params["0.bias"] + 1


def _by_numpy(state: StackState) -> None:
    state.params["2.weight"].numpy()[0, 0, 0] += 1


def _data(state: StackState) -> None:
    assert state.train is not None
    state.train[1][0, 0] = (state.train[1][0, 0] + 1) % 5


CHANGES: dict[str, tuple[Callable[[StackState], object], str]] = {
    "in place": (lambda state: state.params["0.weight"].mul_(1.001), "parameter 0.weight"),
    "through .data": (lambda state: state.params["0.weight"].data.mul_(1.001), "parameter 0.weight"),
    "through numpy": (_by_numpy, r"parameter 2\.weight"),
    "swapped": (_swap, "parameter 0.bias"),
    "replaced": (_replace, "parameter 0.bias"),
    "moment": (lambda state: state.optimizer.moments[1][0].zero_(), "moment 2 of 0.weight"),
    "rate": (lambda state: state.optimizer.learning_rate.mul_(0.5), "learning_rate"),
    "decay": (lambda state: state.optimizer.weight_decay.zero_(), "weight_decay"),
    "frozen": (lambda state: state.optimizer.active.zero_(), "active"),
    "step": (lambda state: setattr(state.optimizer, "step", 0), "the optimiser's step"),
    "generator": (lambda state: torch.randperm(3, generator=state.orders[0]), "generator 1"),
    "order": (lambda state: state.batches.copy_(state.batches.flip(1)), "the batch order"),
    "epoch": (lambda state: setattr(state, "epoch", 5), "the epoch"),
    "train data": (_data, "the training data"),
    "split": (lambda state: state.splits[0].test_labels.zero_(), "test_labels of member 1"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_the_stack_is_refused_and_nothing_is_stored(name: str, tmp_path: Path) -> None:
    change, words = CHANGES[name]

    def on_epoch(state: StackState) -> None:
        if state.epoch == 2:
            change(state)

    with pytest.raises(InputError, match=f"on_epoch changed .*{words}.* in epoch"):
        train_runs(CONFIGS, tmp_path, on_epoch=on_epoch)
    assert len(load(tmp_path)) == 0


def test_a_callback_that_looks_changes_no_bit(tmp_path: Path) -> None:
    seen = []

    def on_epoch(state: StackState) -> None:
        seen.append((state.epoch, state.params["0.bias"].sum().item(), torch.rand(3).tolist()))

    found = train_stack(CONFIGS, on_epoch=on_epoch)
    expected = train_stack(CONFIGS)
    assert [epoch for epoch, *_ in seen] == [1, 2, 3]
    for one, other in zip(found, expected, strict=True):
        for name, values in other.tensors["checkpoints"].items():
            assert one.tensors["checkpoints"][name].tobytes() == values.tobytes()

"""What random calls have found: every kind once, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grokfast import measures as m
from grokfast.errors import InputError
from grokfast.fisher import fisher_diag, fisher_gram, fisher_inner, fisher_plan, fisher_vector_product
from grokfast.ising import IsingSampler, ising_dataset
from grokfast.pruning import measure_pruning

MODEL = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
X = torch.zeros(5, 3)
U = torch.ones(sum(p.numel() for p in MODEL.parameters()))
HALF = np.array([1.0, 2.0], dtype=np.float16)

REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: fisher_diag(MODEL, X.long()), r"raises RuntimeError on inputs int64 \[5, 3\]: "),
    (lambda: fisher_plan(MODEL, X[:, :2]), r"raises RuntimeError on inputs float32 \[.*, 2\]: "),
    (lambda: fisher_plan(MODEL, X)(X[:, :2]), r"made for one input of shape \[N, 3\]"),
    (lambda: fisher_inner(MODEL, X.long(), U, U), r"raises RuntimeError on inputs int64 \[5, 3\]: "),
    (lambda: fisher_gram(MODEL, X[:, :2], [U]), r"raises RuntimeError on inputs float32 \[5, 2\]: "),
    (lambda: fisher_inner(MODEL, X, "text", U), "u must map names to tensors, got 'text'"),
    (lambda: fisher_inner(MODEL, X, U, dict.fromkeys(dict(MODEL.named_parameters()), 1)), r"v\['0.weight'\] must be a"),
    (lambda: fisher_vector_product(MODEL, X, U + 1j), "v must be a tensor of real numbers"),
    (lambda: fisher_gram(MODEL, X, U), "directions must be a list"),
    (lambda: fisher_gram(MODEL, X, []), "directions must be a list"),
    (lambda: m.lengths_and_angles(torch.tensor(1.0)), r"products must be \[\.\.\., 5\]"),
    (lambda: m.lengths_and_angles(torch.ones(2, 4)), r"products must be \[\.\.\., 5\]"),
    (lambda: m.settled(np.ones(2), HALF + np.float16(0.5)), "whole numbers"),
    (lambda: m.grokking_times(np.ones(2), np.ones(2), test_epochs=np.array([1, np.inf])), "whole numbers"),
    (lambda: measure_pruning(MODEL, lambda _: 0.5, fractions=torch.tensor([0j])), "fractions must be a tensor of real"),
    (lambda: measure_pruning(MODEL, lambda _: 0.5, fractions=["a"]), "fractions must be an array of real numbers"),
    (lambda: ising_dataset(L=4, temperatures=3, snapshots=2, sweeps=1, seed=0, J=1e308), "J must be of size 1e-60"),
    (lambda: ising_dataset(L=4, temperatures=3, snapshots=2, sweeps=2**63, seed=0), "sweeps must be .* below 2"),
    (lambda: m.linear_fit([1.0, 2.0, 3.0], [1.0, 1e200, 2.0]), "y must be at most 1e.150 in size, .* got 1e.200"),
    (lambda: m.regression_slope([1.0, 2, 4], [1.0, 3, 1e308], [[1.0, 5, 3]]), "x must be at most"),
    (lambda: m.mean_interval([1.0, -1e308]), "values must be at most"),
    (lambda: m.largest_bump([1.0, 2.0, 1e308], [1.0, 2.0, 1.0]), "epochs must be at most"),
    (lambda: m.plateau([1.0, 0.5], [1.7e308, -1e308]), "test_accuracy must be at most"),
    (lambda: IsingSampler(4, [2.0], 2, seed=0).sweep(10**30), "n must be .* below 2"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "match"), REFUSED)
def test_refused(call: Callable[[], Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        call()


def test_own_words_of_a_model_stay() -> None:
    """What a model raised is the cause; warnings and want of memory are no refusal of the inputs."""

    class Raising(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise self.error

    model = Raising(3, 2)
    model.error = KeyError("mine")
    with pytest.raises(InputError, match=r"raises KeyError on inputs float32 \[5, 3\]: 'mine'") as refused:
        fisher_diag(model, X)
    assert isinstance(refused.value.__cause__, KeyError)
    for kind in (MemoryError, UserWarning):
        model.error = kind("mine")
        with pytest.raises(kind, match="mine"):
            fisher_diag(model, X)


def test_answered() -> None:
    assert m.input_ipr(torch.zeros(0, 6)).shape == (0,)
    one_each = {"s": torch.tensor([3.0, 4.0]), "w": torch.ones(2, 2)}
    assert m.layer_norms(one_each)["s"].tolist() == [3, 4]
    assert m.gini_of(one_each, ["s"]).tolist() == [0, 0]
    assert m.mutual_information(torch.zeros(0, 9), torch.zeros(1, 9)).shape == (0,)
    truths = {"w": torch.tensor([[True, False]])}
    assert m.origin_similarity({"w": torch.tensor([[-1.0, 0.0]])}, truths) == 1
    assert m.gini_of(truths) == 0.5
    assert m.settled(np.ones(2), HALF) == m.settled(np.ones(2), np.array([1, 2]))

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grokfast.errors import InputError
from grokfast.models import stack_members
from grokfast.pruning import pruned_count, pruning_curves, pruning_fractions, pruning_order, ranks_of


@pytest.mark.parametrize("size", [1, 7, 100, 57_856, 115_712])
def test_count_is_the_exact_floor_on_the_grid(size):
    for k in range(101):
        assert pruned_count(k / 100, size) == k * size // 100


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40))
def test_ranks_equal_a_plain_stable_sort(values):
    weight = torch.tensor(values, dtype=torch.float64)[None]
    order = sorted(range(len(values)), key=lambda k: (abs(values[k]), k))
    expected = [order.index(k) for k in range(len(values))]
    assert ranks_of(weight.abs())[0].tolist() == expected


def test_ties_go_by_row_major_index_whatever_the_storage():
    weight = torch.ones(2, 3)
    stacked = stack_members([{"0.weight": weight, "0.bias": torch.zeros(2)}])
    pruned = pruning_order(stacked).prune(stacked, 0.5)["0.weight"][0]
    assert pruned.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_prunes_each_layer_by_itself_and_no_bias():
    params = {
        "0.weight": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
        "0.bias": torch.tensor([[0.01, 0.02]]),
        "2.weight": torch.tensor([[[10.0, -20.0, 30.0, 5.0]]]),
    }
    pruned = pruning_order(params).prune(params, 0.5)
    assert pruned["0.weight"].tolist() == [[[0, 0], [3, 4]]]
    assert pruned["2.weight"].tolist() == [[[0, -20, 30, 0]]]
    assert torch.equal(pruned["0.bias"], params["0.bias"])
    assert params["0.weight"][0, 0, 0] == 1  # the input is untouched
    only = pruning_order(params, names=["2.weight"]).prune(params, 1.0)
    assert torch.equal(only["0.weight"], params["0.weight"])
    assert not only["2.weight"].any()


def test_curve_equals_one_pruning_after_another():
    generator = torch.Generator().manual_seed(0)
    params = stack_members(
        [{"0.weight": torch.randn(4, 6, generator=generator), "0.bias": torch.zeros(4)} for _ in range(3)]
    )
    fractions = pruning_fractions(20)

    def kept(variants):
        return (variants["0.weight"] != 0).double().mean((1, 2)) + variants["0.weight"].double().sum((1, 2)).abs()

    evaluate = [lambda variants: (kept(variants),)] * 3
    (curve,) = pruning_curves(params, evaluate, fractions, pruning_order(params))
    for k, fraction in enumerate(fractions):
        pruned = pruning_order(params).prune(params, float(fraction))
        torch.testing.assert_close(curve[:, k], kept(pruned))


def test_rejects():
    params = {"0.weight": torch.ones(1, 2, 2), "0.bias": torch.ones(1, 2)}
    with pytest.raises(InputError, match=r"lie in \[0, 1\], got 1.5"):
        pruning_order(params).prune(params, 1.5)
    with pytest.raises(InputError, match="names of parameters"):
        pruning_order(params, names=["1.weight"]).prune(params, 0.5)
    with pytest.raises(InputError, match="one accuracy function per member"):
        pruning_curves(params, [], pruning_fractions(), pruning_order(params))

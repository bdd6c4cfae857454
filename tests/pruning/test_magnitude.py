from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grokfast.errors import InputError
from grokfast.models import stack_members
from grokfast.pruning import magnitude_ranks, prune_layerwise, pruned_count, pruning_curve, pruning_fractions


@pytest.mark.parametrize("size", [1, 7, 100, 57_856, 115_712])
def test_count_is_the_exact_floor_on_the_grid(size):
    for k in range(101):
        assert pruned_count(k / 100, size) == k * size // 100


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40))
def test_ranks_equal_a_plain_stable_sort(values):
    weight = torch.tensor(values, dtype=torch.float64)[None]
    order = sorted(range(len(values)), key=lambda k: (abs(values[k]), k))
    expected = [order.index(k) for k in range(len(values))]
    assert magnitude_ranks(weight)[0].tolist() == expected


def test_ties_go_by_row_major_index_whatever_the_storage():
    weight = torch.ones(2, 3)
    stacked = stack_members([{"0.weight": weight, "0.bias": torch.zeros(2)}])
    pruned = prune_layerwise(stacked, 0.5)["0.weight"][0]
    assert pruned.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_prunes_each_layer_by_itself_and_no_bias():
    params = {
        "0.weight": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
        "0.bias": torch.tensor([[0.01, 0.02]]),
        "2.weight": torch.tensor([[[10.0, -20.0, 30.0, 5.0]]]),
    }
    pruned = prune_layerwise(params, 0.5)
    assert pruned["0.weight"].tolist() == [[[0, 0], [3, 4]]]
    assert pruned["2.weight"].tolist() == [[[0, -20, 30, 0]]]
    assert torch.equal(pruned["0.bias"], params["0.bias"])
    assert params["0.weight"][0, 0, 0] == 1  # the input is untouched
    only = prune_layerwise(params, 1.0, names=["2.weight"])
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

    curve = pruning_curve(params, [kept] * 3, fractions)
    for k, fraction in enumerate(fractions):
        pruned = prune_layerwise(params, float(fraction))
        torch.testing.assert_close(curve[:, k], kept(pruned))


def test_rejects():
    params = {"0.weight": torch.ones(1, 2, 2), "0.bias": torch.ones(1, 2)}
    with pytest.raises(InputError, match=r"lie in \[0, 1\], got 1.5"):
        prune_layerwise(params, 1.5)
    with pytest.raises(InputError, match="names of parameters"):
        prune_layerwise(params, 0.5, names=["1.weight"])
    with pytest.raises(InputError, match="one accuracy function per member"):
        pruning_curve(params, [], pruning_fractions())

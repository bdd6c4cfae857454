from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grokfast.errors import InputError
from grokfast.models import stack_members
from grokfast.pruning import (
    Scheme,
    layers_of,
    masked,
    pruned_count,
    pruning_curves,
    pruning_fractions,
    pruning_order,
    weight_names,
)

SHAPES = {"0.weight": (4, 3), "0.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}
FRACTIONS = [0.0, 0.1, 0.25, 0.5, 0.77, 0.99, 1.0]


def _values(draw):
    """Small integers: many ties, within and between layers."""
    return {
        name: torch.tensor(
            draw(st.lists(st.integers(0, 3), min_size=torch.Size(shape).numel(), max_size=torch.Size(shape).numel())),
            dtype=torch.float32,
        ).reshape(1, *shape)
        for name, shape in SHAPES.items()
    }


def _plain_sort(scores, group, fraction):
    """Names and flat indices that a sort in plain Python removes."""
    entries = [(float(s), order, k) for order, name in enumerate(group) for k, s in enumerate(scores[name].reshape(-1))]
    removed = sorted(entries)[: pruned_count(fraction, len(entries))]
    return {(group[order], k) for _, order, k in removed}


def _removed(masks):
    return {
        (name, k) for name, mask in masks.items() for k, keep in enumerate(mask[0].reshape(-1).tolist()) if not keep
    }


@given(st.data())
def test_every_scheme_equals_a_plain_sort(data):
    params, fisher = _values(data.draw), _values(data.draw)
    weights = ["0.weight", "2.weight"]
    normed = {n: params[n].double() / (params[n].double().norm() or 1) for n in weights}
    for scheme, scores, groups in (
        (Scheme.LAYERWISE, params, [[name] for name in weights]),
        (Scheme.GLOBAL, params, [weights]),
        (Scheme.GLOBAL_BY_NORM, normed, [weights]),
        (Scheme.FISHER_GLOBAL, fisher, [list(SHAPES)]),
        (Scheme.FISHER_LAYERWISE, fisher, [["0.weight", "0.bias"], ["2.weight", "2.bias"]]),
    ):
        order = pruning_order(params, scheme, fisher=fisher)
        for fraction in FRACTIONS:
            expected = set().union(*(_plain_sort(scores, group, fraction) for group in groups))
            assert _removed(order.masks(fraction)) == expected, (scheme, fraction)


@given(st.data())
def test_fisher_pruning_of_a_layer_touches_no_other(data):
    params, fisher = _values(data.draw), _values(data.draw)
    for layer, names in layers_of(SHAPES).items():
        order = pruning_order(params, "fisher-layerwise", names=names, fisher=fisher)
        size = sum(params[name].numel() for name in names)
        for fraction in FRACTIONS:
            pruned = order.prune(params, fraction)
            for name in SHAPES:
                if name not in names:
                    assert pruned[name] is params[name], (layer, name)
            kept = sum(int(mask.sum()) for mask in order.masks(fraction).values())
            assert kept == size - int(fraction * size)


def test_each_layer_loses_its_own_share_to_the_last_parameter():
    """The published code's range for a layer reached one parameter into the next: both ends of every layer count."""
    params = {name: torch.ones(1, *shape) for name, shape in SHAPES.items()}
    fisher = {name: torch.arange(1.0, 1 + p.numel()).reshape(p.shape) for name, p in params.items()}
    for names in layers_of(SHAPES).values():
        pruned = pruning_order(params, "fisher-layerwise", names=names, fisher=fisher).prune(params, 1.0)
        assert all(bool(pruned[name].any()) == (name not in names) for name in SHAPES)


def test_global_by_norm_does_not_see_the_scale_of_a_layer():
    generator = torch.Generator().manual_seed(0)
    params = {name: torch.randn(2, *shape, generator=generator) for name, shape in SHAPES.items()}
    scaled = {**params, "0.weight": 64 * params["0.weight"]}
    one, other = (pruning_order(p, "global-by-norm").ranks for p in (params, scaled))
    assert all(torch.equal(one[name], other[name]) for name in one)
    plain, moved = (pruning_order(p, "global").ranks for p in (params, scaled))
    assert not torch.equal(plain["0.weight"], moved["0.weight"])


def test_a_layer_of_zeros_goes_first():
    params = {"0.weight": torch.ones(1, 2, 2), "2.weight": torch.zeros(1, 1, 2)}
    masks = pruning_order(params, "global-by-norm").masks(2 / 6)
    assert masks["0.weight"].all()
    assert not masks["2.weight"].any()


def test_random_is_a_permutation_of_its_own_for_every_member():
    params = {name: torch.zeros(2, *shape) for name, shape in SHAPES.items()}

    def order(*seeds):
        return pruning_order(params, "random", generators=[torch.Generator().manual_seed(seed) for seed in seeds])

    ranks = order(1, 2).ranks["0.weight"]
    assert ranks.reshape(2, -1).sort(1).values.tolist() == [list(range(12))] * 2
    assert not torch.equal(ranks[0], ranks[1])
    assert torch.equal(order(2, 1).ranks["0.weight"].flip(0), ranks)
    with pytest.raises(InputError, match="one generator per member, 2, got none"):
        pruning_order(params, "random")


def test_masks_are_nested_and_stacks_equal_their_members():
    generator = torch.Generator().manual_seed(0)
    members = [{n: torch.randn(*s, generator=generator) for n, s in SHAPES.items()} for _ in range(3)]
    stack = stack_members(members, input_major=("0.weight",))
    for scheme in ("layerwise", "global", "global-by-norm"):
        order = pruning_order(stack, scheme)
        before = order.masks(0.0)
        assert all(mask.all() for mask in before.values())
        for fraction in pruning_fractions(20)[1:]:
            now = order.masks(float(fraction))
            assert all((before[name] | ~now[name]).all() for name in now)
            before = now
        assert not any(mask.any() for mask in before.values())
        for e, member in enumerate(members):
            alone = pruning_order(stack_members([member]), scheme)
            assert all(torch.equal(order.ranks[n][e], alone.ranks[n][0]) for n in order.ranks)


def test_curves_of_several_quantities_equal_one_pruning_after_another():
    generator = torch.Generator().manual_seed(0)
    params = {name: torch.randn(3, *shape, generator=generator) for name, shape in SHAPES.items()}
    order = pruning_order(params, "global")
    fractions = pruning_fractions(100)

    def quantities(variants):
        weight = variants["2.weight"].double()
        return (weight != 0).double().mean((1, 2)), weight.square().sum((1, 2))

    curves = pruning_curves(params, [quantities] * 3, fractions, order)
    for k in (0, 1, 37, 64, 100):
        for curve, wanted in zip(curves, quantities(order.prune(params, float(fractions[k]))), strict=True):
            torch.testing.assert_close(curve[:, k], wanted)


@given(st.data())
def test_arrivals_are_the_masks_of_all_fractions(data):
    params = _values(data.draw)
    params["0.weight"] = params["0.weight"].mT.contiguous().mT
    order = pruning_order(params, data.draw(st.sampled_from(["layerwise", "global"])))
    fractions = torch.tensor(data.draw(st.lists(st.sampled_from(FRACTIONS), min_size=1)), dtype=torch.float64)
    arrivals = order.arrivals(params, fractions)
    for k, fraction in enumerate(fractions.sort(descending=True).values.tolist()):
        masks = order.masks(fraction)
        for name, arrival in arrivals.items():
            assert torch.equal(arrival <= k, masks.get(name, torch.ones_like(arrival, dtype=torch.bool)))
            assert arrival.stride() == params[name].stride()


def test_weight_names():
    params = {"0.weight": torch.ones(2, 3, 3), "0.bias": torch.ones(2, 3), "1.weight": torch.ones(2, 3)}
    assert weight_names(params) == ["0.weight"]  # a normalisation's weight is a vector
    assert weight_names({"rnn.weight_ih_l0": torch.ones(3, 3)}, stacked=False) == ["rnn.weight_ih_l0"]


def test_rejects():
    params = {name: torch.ones(1, *shape) for name, shape in SHAPES.items()}
    order = pruning_order(params)
    for fraction in (-0.01, 1.01, float("nan")):
        with pytest.raises(InputError, match=r"lie in \[0, 1\]"):
            order.masks(fraction)
        with pytest.raises(InputError, match=r"lie in \[0, 1\]"):
            pruning_curves(params, [lambda p: (torch.ones(1),)], torch.tensor([fraction]), order)
    with pytest.raises(InputError, match="did you mean 'global'"):
        pruning_order(params, "globl")
    with pytest.raises(InputError, match="needs fisher="):
        pruning_order(params, "fisher-global")
    with pytest.raises(InputError, match=r"Fisher diagonal of 0.bias must be \[1, 4\], got none"):
        pruning_order(params, "fisher-global", fisher={"0.weight": params["0.weight"]})
    with pytest.raises(InputError, match="must be finite"):
        pruning_order(params, "fisher-global", fisher={n: p * torch.nan for n, p in params.items()})
    with pytest.raises(InputError, match="among"):
        pruning_order(params, names=["0.weight", "x"])
    with pytest.raises(InputError, match=r"the mask of 0.weight must be \[1, 4, 3\], got \[1, 3, 4\]"):
        masked(params, {"0.weight": torch.ones(1, 3, 4)})
    with pytest.raises(InputError, match="0 and 1 only"):
        masked(params, {"0.weight": torch.full((1, 4, 3), 0.5)})
    with pytest.raises(InputError, match="one for 'x'"):
        masked(params, {"x": torch.ones(1)})

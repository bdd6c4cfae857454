from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.models import initial_mlp, member, member_count, mlp, mlp_on_pairs, stack_members

WIDTHS = (10, 6, 7, 5)


def _members(count, dtype=torch.float64):
    return [initial_mlp(WIDTHS, 1.0, torch.Generator().manual_seed(e), dtype) for e in range(count)]


def test_names_and_shapes_are_those_of_the_module():
    module = mlp(WIDTHS)
    (params,) = _members(1)
    assert {k: v.shape for k, v in params.items()} == {k: v.shape for k, v in module.state_dict().items()}


def test_stack_round_trip():
    members = _members(3)
    stacked = stack_members(members)
    assert member_count(stacked) == 3
    for e in range(3):
        back = member(stacked, e)
        assert all(torch.equal(back[name], members[e][name]) and back[name].is_contiguous() for name in back)


def test_stacked_forward_equals_the_modules():
    members = _members(3)
    pairs = torch.randint(0, 5, (3, 8, 2))
    logits = mlp_on_pairs(stack_members(members), pairs)
    for e in range(3):
        module = mlp(WIDTHS).double()
        module.load_state_dict(members[e])
        x = torch.nn.functional.one_hot(pairs[e], 5).flatten(-2).double()
        torch.testing.assert_close(logits[e], module(x).detach(), rtol=1e-13, atol=1e-13)


def test_initialisation_is_xavier_normal_times_the_scale():
    params = initial_mlp((226, 512, 113), 3.0, torch.Generator().manual_seed(0), torch.float64)
    expected = 3.0 * (2 / (226 + 512)) ** 0.5
    weight = params["0.weight"]
    assert weight.std().item() == pytest.approx(expected, rel=5 / weight.numel() ** 0.5)
    assert not params["0.bias"].any()
    half = initial_mlp((226, 512, 113), 1.5, torch.Generator().manual_seed(0), torch.float64)
    torch.testing.assert_close(2 * half["0.weight"], weight)
    single = initial_mlp((226, 512, 113), 3.0, torch.Generator().manual_seed(0), torch.float32)
    assert torch.equal(single["0.weight"], weight.float())


def test_rejects_members_that_do_not_match():
    with pytest.raises(InputError, match="at least one member"):
        stack_members([])
    with pytest.raises(InputError, match="member 1 does not match"):
        stack_members([{"a": torch.ones(2)}, {"a": torch.ones(3)}])

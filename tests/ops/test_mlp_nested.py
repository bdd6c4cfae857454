from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.ops import mlp_losses, mlp_nested_losses, mlp_nested_losses_reference

# P, H, C, N: around the lengths of vectors and blocks, and one of each.
SIZES = [(11, 64, 11, 130), (5, 37, 5, 65), (7, 129, 33, 3), (2, 1, 1, 1), (6, 20, 150, 64)]
COUNT = 9


def _problem(size, dtype=torch.float64, members=3, count=COUNT):
    """Weights and arrivals, some at once and some never; pruned biases too."""
    P, H, C, N = size
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.3).to(dtype)

    def when(tensor):
        drawn = torch.randint(0, count + 1, tensor.shape, generator=generator, dtype=torch.int32)
        return torch.empty_like(tensor, dtype=torch.int32).copy_(drawn)

    params = [draw(members, 2 * P, H).transpose(1, 2), draw(members, H), draw(members, C, H), draw(members, C)]
    pairs = torch.randint(0, P, (members, N, 2), generator=generator)
    return params, [when(p) for p in params], pairs, torch.randint(0, C, (members, N), generator=generator)


def _plain_torch(params, arrivals, count, pairs, labels):
    """Float64, on two-hot vectors; also the margin between the two largest logits of every sample."""
    x = nn.functional.one_hot(pairs, params[0].shape[2] // 2).flatten(-2).double()
    losses, hits, margins = [], [], []
    for k in range(count):
        w1, b1, w2, b2 = (p.double() * (a <= k) for p, a in zip(params, arrivals, strict=True))
        z = torch.relu(x @ w1.mT + b1[:, None]) @ w2.mT + b2[:, None]
        losses.append(nn.functional.cross_entropy(z.transpose(1, 2), labels, reduction="none").mean(1))
        hits.append((z.argmax(2) == labels).sum(1))
        top = z.topk(min(2, z.shape[2])).values
        margins.append(top[..., 0] - top[..., -1])
    return torch.stack(losses, 1), torch.stack(hits, 1), torch.stack(margins, 1)


@pytest.mark.parametrize("size", SIZES)
def test_equals_plain_torch(isa, size):
    params, arrivals, pairs, labels = _problem(size)
    loss, correct = mlp_nested_losses(params, arrivals, COUNT, pairs, labels)
    wanted, hits, _ = _plain_torch(params, arrivals, COUNT, pairs, labels)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-13)
    assert torch.equal(correct, hits)


@pytest.mark.parametrize("size", SIZES[:3])
def test_the_reference_equals_plain_torch(size):
    params, arrivals, pairs, labels = _problem(size)
    loss, correct = mlp_nested_losses_reference(params, arrivals, COUNT, pairs, labels)
    wanted, hits, _ = _plain_torch(params, arrivals, COUNT, pairs, labels)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-13)
    assert torch.equal(correct, hits)


def test_rounding_of_many_networks(isa):
    """After 101 networks the error is still that of one sum: m units of rounding times the sum of all magnitudes."""
    size, count = (29, 512, 29, 200), 101
    params, arrivals, pairs, labels = _problem(size, torch.float32, members=2, count=count)
    params[1].zero_()  # as a fresh network has them: ties of logits nothing has reached are exact
    params[3].zero_()
    loss, correct = mlp_nested_losses(params, arrivals, count, pairs, labels)
    wanted, hits, margins = _plain_torch(params, arrivals, count, pairs, labels)
    w1, _, w2, _ = (p.double().abs() for p in params)
    # Of each unit, at most: its changes times w2, the same once more as w2 arrives, and room for the changes' rounding.
    received = torch.stack([w1[e][:, p[:, 0]] + w1[e][:, 29 + p[:, 1]] for e, p in enumerate(pairs)])  # [E, H, N]
    terms = 4 * (size[1] + 1) + count
    bound = terms * 2**-24 * 3 * (w2 @ received).amax(1)  # [E, N], of any logit
    assert ((loss.double() - wanted).abs() <= 2 * bound.mean(1, keepdim=True) + 1e-6 * wanted).all()
    doubtful = (margins <= 2 * bound[:, None]).sum(2)  # samples that may be decided either way
    assert ((correct - hits).abs() <= doubtful).all()
    assert (loss.double() - wanted).abs().max() < 1e-5 * wanted.max()  # and in practice much less
    assert (correct - hits).abs().max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_go_to_the_first_class_after_what_has_come_and_gone(isa, dtype):
    """Units that switch on and off again leave classes that nothing reaches equal, to the bit."""
    P, H, C, N = 3, 6, 7, 30
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(1, 2 * P, H, generator=generator, dtype=torch.float64)
    first[:, P:] = -2
    params = [first.to(dtype).mT, torch.zeros(1, H, dtype=dtype), torch.rand(1, C, H, generator=generator).to(dtype)]
    params.append(torch.full((1, C), 0.1, dtype=dtype))
    arrivals = [torch.zeros_like(p, dtype=torch.int32) for p in params]
    arrivals[0][:, :, :P] = torch.arange(H)[:, None].int() % 4  # positive weights by 3
    arrivals[0][:, :, P:] = 4 + torch.arange(H)[:, None].int() % 3  # negative ones: every unit is off from 6 on
    pairs, labels = torch.randint(0, P, (1, N, 2), generator=generator), torch.arange(N)[None] % C
    loss, correct = mlp_nested_losses(params, arrivals, 8, pairs, labels)
    assert torch.equal(correct[:, 6:], (labels == 0).sum(1, keepdim=True).expand(-1, 2))
    wanted, hits = mlp_nested_losses_reference(params, arrivals, 8, pairs, labels)
    torch.testing.assert_close(loss, wanted)
    assert torch.equal(correct, hits)


def test_predictions_of_networks_that_nothing_has_reached_are_the_first_class():
    params, arrivals, pairs, labels = _problem((5, 16, 5, 40))
    params[3].zero_()
    never = [torch.full_like(when, 4) for when in arrivals]
    loss, correct = mlp_nested_losses(params, never, 4, pairs, labels)
    torch.testing.assert_close(loss, torch.full_like(loss, 5.0).log())
    assert torch.equal(correct, (labels == 0).sum(1, keepdim=True).expand(-1, 4))


def test_all_at_once_is_one_network():
    params, arrivals, pairs, labels = _problem((11, 64, 11, 130), torch.float32)
    loss, correct = mlp_nested_losses(params, [torch.zeros_like(when) for when in arrivals], 3, pairs, labels)
    wanted, hits = mlp_losses(params, pairs, labels)
    torch.testing.assert_close(loss, wanted[:, None].expand(-1, 3))
    assert torch.equal(correct, hits[:, None].expand(-1, 3))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan, 1e300])
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_what_is_not_finite_is_as_in_networks_of_their_own(isa, which, value):
    """1e300 is finite, but what it is multiplied by makes logits overflow."""
    params, arrivals, pairs, labels = _problem((5, 40, 5, 70))
    params = [p * 1e20 for p in params] if value == 1e300 else params
    spot = (1, *[0] * (params[which].dim() - 1))
    params[which][spot] = value
    arrivals[which][spot] = 4
    loss, correct = mlp_nested_losses(params, arrivals, COUNT, pairs, labels)
    wanted, hits = mlp_nested_losses_reference(params, arrivals, COUNT, pairs, labels)
    torch.testing.assert_close(loss, wanted, equal_nan=True, rtol=1e-12, atol=1e-13)
    assert torch.equal(correct, hits)
    assert loss[1, :4].isfinite().all()


def test_same_bits_for_any_stack_and_threads():
    params, arrivals, pairs, labels = _problem((13, 70, 13, 300), torch.float32, members=4)
    whole = mlp_nested_losses(params, arrivals, COUNT, pairs, labels)
    torch.set_num_threads(4)
    threaded = mlp_nested_losses(params, arrivals, COUNT, pairs, labels)
    torch.set_num_threads(1)
    own = slice(2, 3)
    alone = mlp_nested_losses([p[own] for p in params], [a[own] for a in arrivals], COUNT, pairs[own], labels[own])
    for a, b, c in zip(whole, threaded, alone, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a[own], c)


def test_other_memory_layouts_answer_the_same():
    params, arrivals, pairs, labels = _problem((5, 37, 5, 20))
    rows = [p.contiguous() for p in params]
    when = [arrivals[0].contiguous(), arrivals[1], arrivals[2].mT.contiguous().mT, arrivals[3]]
    wanted = mlp_nested_losses(params, arrivals, COUNT, pairs, labels)
    torch.testing.assert_close(mlp_nested_losses(rows, when, COUNT, pairs, labels), wanted)


def test_rejects_what_does_not_fit():
    params, arrivals, pairs, labels = _problem((5, 8, 6, 4))
    with pytest.raises(InputError, match="four parameters"):
        mlp_nested_losses(params[:3], arrivals, COUNT, pairs, labels)
    with pytest.raises(InputError, match="arrivals must be int32 of the shapes"):
        mlp_nested_losses(params, arrivals[::-1], COUNT, pairs, labels)
    with pytest.raises(InputError, match="arrivals must be int32 of the shapes"):
        mlp_nested_losses(params, [a.long() for a in arrivals], COUNT, pairs, labels)
    with pytest.raises(InputError, match=r"arrivals must lie in 0 \.\. 2"):
        mlp_nested_losses(params, arrivals, 2, pairs, labels)
    with pytest.raises(InputError, match="count must be at least 1, got 0"):
        mlp_nested_losses(params, arrivals, 0, pairs, labels)
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 5"):
        mlp_nested_losses(params, arrivals, COUNT, pairs, labels + 6)
    with pytest.raises(InputError, match=r"pairs must lie in 0 \.\. 4"):
        mlp_nested_losses(params, arrivals, COUNT, pairs - 1, labels)


def test_opcheck():
    params, arrivals, pairs, labels = _problem((5, 8, 6, 4))
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(mlp_nested_losses, (params, arrivals, COUNT, pairs, labels), test_utils=tests)

from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.ops import mlp_losses, mlp_losses_reference

# P, H, C, N: the paper's widths, odd ones around the lengths of vectors, words and chunks, one of each.
SIZES = [(113, 512, 113, 64), (5, 37, 5, 130), (7, 129, 33, 3), (2, 1, 1, 1), (6, 200, 150, 65)]


def _problem(size, dtype=torch.float64, members=3):
    P, H, C, N = size
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.3).to(dtype)

    params = [draw(members, 2 * P, H).transpose(1, 2), draw(members, H), draw(members, C, H), draw(members, C)]
    pairs = torch.randint(0, P, (members, N, 2), generator=generator)
    return params, pairs, torch.randint(0, C, (members, N), generator=generator)


def _plain_torch(params, pairs, labels):
    P = params[0].shape[2] // 2
    x = torch.nn.functional.one_hot(pairs, P).flatten(-2).double()
    w1, b1, w2, b2 = (p.double() for p in params)
    hidden = torch.relu(x @ w1.transpose(1, 2) + b1[:, None])
    logits = hidden @ w2.transpose(1, 2) + b2[:, None]
    losses = torch.stack([nn.functional.cross_entropy(z, y) for z, y in zip(logits, labels, strict=True)])
    return losses, (logits.argmax(2) == labels).sum(1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("op", [mlp_losses, mlp_losses_reference])
def test_equals_plain_torch(op, size, dtype, tolerance):
    params, pairs, labels = _problem(size, dtype)
    loss, correct = op(params, pairs, labels)
    wanted, hits = _plain_torch(params, pairs, labels)
    torch.testing.assert_close(loss.double(), wanted, rtol=tolerance, atol=tolerance)
    assert torch.equal(correct, hits)


@pytest.mark.parametrize("size", SIZES)
def test_every_instruction_set(isa, size):
    params, pairs, labels = _problem(size)
    wanted, hits = _plain_torch(params, pairs, labels)
    loss, correct = mlp_losses(params, pairs, labels)
    torch.testing.assert_close(loss, wanted, rtol=1e-13, atol=1e-14)
    assert torch.equal(correct, hits)


def test_pruned_networks(isa):
    params, pairs, labels = _problem((11, 300, 11, 90))
    params[2][0, :, ::2] = 0  # units that reach no output
    params[0][1, :128] = 0  # a chunk of units that no input reaches, with biases
    params[2][2] = 0  # nothing is left but the biases
    wanted, hits = _plain_torch(params, pairs, labels)
    loss, correct = mlp_losses(params, pairs, labels)
    torch.testing.assert_close(loss, wanted, rtol=1e-13, atol=1e-14)
    assert torch.equal(correct, hits)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_what_is_not_finite_spoils_the_loss_of_its_member_alone(value, which):
    params, pairs, labels = _problem((5, 80, 5, 200))
    params[0][1, 3] = -5.0  # a unit that is never active: an infinite weight behind it counts all the same
    params[which][1].select(0, 0).select(0, 0).fill_(value) if which % 2 == 0 else params[which][1, :1].fill_(value)
    if which == 2:
        params[2][1] = 0
        params[2][1, 0, 3] = value
    loss, _ = mlp_losses(params, pairs, labels)
    wanted, _ = mlp_losses_reference(params, pairs, labels)
    assert not loss[1].isfinite()
    assert not wanted[1].isfinite()
    torch.testing.assert_close(loss[[0, 2]], wanted[[0, 2]])


def test_same_bits_for_any_stack_and_threads():
    params, pairs, labels = _problem((113, 512, 113, 64), torch.float32, members=5)
    whole = mlp_losses(params, pairs, labels)
    torch.set_num_threads(4)
    threaded = mlp_losses(params, pairs, labels)
    assert all(torch.equal(a, b) for a, b in zip(whole, threaded, strict=True))
    torch.set_num_threads(1)
    alone = mlp_losses([p[3:4] for p in params], pairs[3:4], labels[3:4])
    assert all(torch.equal(a[3:4], b) for a, b in zip(whole, alone, strict=True))


def test_other_memory_layouts_answer_the_same():
    params, pairs, labels = _problem((5, 37, 5, 20))
    rows = [p.contiguous() for p in params]
    torch.testing.assert_close(mlp_losses(rows, pairs, labels), mlp_losses(params, pairs, labels))


def test_rejects_what_does_not_fit():
    params, pairs, labels = _problem((5, 8, 6, 4))
    with pytest.raises(InputError, match="four parameters"):
        mlp_losses(params[:3], pairs, labels)
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 5"):
        mlp_losses(params, pairs, labels + 6)
    with pytest.raises(InputError, match=r"pairs must lie in 0 \.\. 4"):
        mlp_losses(params, pairs - 1, labels)


def test_opcheck():
    params, pairs, labels = _problem((5, 8, 6, 4))
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(mlp_losses, (params, pairs, labels), test_utils=tests)

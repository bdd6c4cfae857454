from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.ops import mlp_cross_entropy_, mlp_cross_entropy_direct, mlp_cross_entropy_reference

# P, H, C, N: the paper's widths, odd ones below and above the vector length, more samples than a block, one of each.
SIZES = [(113, 512, 113, 64), (5, 37, 5, 130), (7, 16, 9, 3), (2, 1, 1, 1), (6, 100, 31, 65)]


def _problem(size, dtype=torch.float64, members=3):
    P, H, C, N = size
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.3).to(dtype)

    params = [draw(members, 2 * P, H).transpose(1, 2), draw(members, H), draw(members, C, H), draw(members, C)]
    pairs = torch.randint(0, P, (members, N, 2), generator=generator)
    return params, pairs, torch.randint(0, C, (members, N), generator=generator)


def _plain_torch(params, pairs, labels, e):
    P = params[0].shape[2] // 2
    hidden = nn.Linear(2 * P, params[0].shape[1])
    out = nn.Linear(params[0].shape[1], params[2].shape[1])
    model = nn.Sequential(hidden, nn.ReLU(), out).double()
    with torch.no_grad():
        for tensor, value in zip((hidden.weight, hidden.bias, out.weight, out.bias), params, strict=True):
            tensor.copy_(value[e])
    x = torch.nn.functional.one_hot(pairs[e], P).flatten(-2).double()
    logits = model(x)
    loss = nn.functional.cross_entropy(logits, labels[e])
    grads = torch.autograd.grad(loss, [hidden.weight, hidden.bias, out.weight, out.bias])
    return loss.detach(), (logits.argmax(1) == labels[e]).sum(), grads


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("op", [mlp_cross_entropy_, mlp_cross_entropy_direct, mlp_cross_entropy_reference])
def test_equals_plain_torch(op, size, dtype, tolerance):
    params, pairs, labels = _problem(size, dtype)
    grads = [torch.full_like(p, torch.nan) for p in params]
    loss, correct = op(params, pairs, labels, grads)
    for e in range(3):
        wanted_loss, wanted_correct, wanted = _plain_torch(params, pairs, labels, e)
        assert loss[e].item() == pytest.approx(wanted_loss.item(), rel=10 * tolerance, abs=tolerance)
        assert correct[e] == wanted_correct
        for found, grad in zip(grads, wanted, strict=True):
            assert (found[e].double() - grad).norm() <= tolerance * grad.norm() + 1e-300


@pytest.mark.parametrize("size", SIZES)
def test_without_gradients_the_loss_is_the_same_to_the_bit(size):
    params, pairs, labels = _problem(size, torch.float32)
    with_grads = mlp_cross_entropy_(params, pairs, labels, [torch.empty_like(p) for p in params])
    without = mlp_cross_entropy_(params, pairs, labels, [])
    assert all(torch.equal(a, b) for a, b in zip(with_grads, without, strict=True))


def test_same_bits_for_any_stack_and_threads(core):
    params, pairs, labels = _problem((113, 512, 113, 64), torch.float32, members=5)
    whole = [torch.empty_like(p) for p in params]
    mlp_cross_entropy_(params, pairs, labels, whole)
    torch.set_num_threads(4)
    threaded = [torch.empty_like(p) for p in params]
    mlp_cross_entropy_(params, pairs, labels, threaded)
    assert all(torch.equal(a, b) for a, b in zip(whole, threaded, strict=True))
    alone = [p[3:4] for p in params]
    grads = [torch.empty_like(p) for p in alone]
    mlp_cross_entropy_(alone, pairs[3:4], labels[3:4], grads)
    assert all(torch.equal(a[3], b[0]) for a, b in zip(whole, grads, strict=True))


@pytest.mark.parametrize("size", SIZES)
def test_every_instruction_set(isa, size):
    params, pairs, labels = _problem(size)
    grads = [torch.empty_like(p) for p in params]
    loss, _ = mlp_cross_entropy_(params, pairs, labels, grads)
    wanted_loss, _, wanted = _plain_torch(params, pairs, labels, 1)
    assert loss[1].item() == pytest.approx(wanted_loss.item(), rel=1e-13, abs=1e-14)
    for found, grad in zip(grads, wanted, strict=True):
        assert (found[1] - grad).norm() <= 1e-14 * grad.norm() + 1e-300


def test_other_memory_layouts_answer_the_same():
    params, pairs, labels = _problem((5, 37, 5, 20))
    rows = [p.contiguous() for p in params]
    grads, other = [torch.empty_like(p) for p in params], [torch.empty_like(p) for p in rows]
    mlp_cross_entropy_(params, pairs, labels, grads)
    mlp_cross_entropy_(rows, pairs, labels, other)
    for a, b in zip(grads, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_network_that_is_not_finite_spoils_itself_only():
    params, pairs, labels = _problem((5, 37, 5, 20))
    params[2][1, 0, 0] = torch.inf
    params[0][1] = 1.0
    loss, _ = mlp_cross_entropy_(params, pairs, labels, [])
    assert not loss[1].isfinite()
    assert loss[[0, 2]].isfinite().all()


def test_rejects_what_does_not_fit():
    params, pairs, labels = _problem((5, 8, 6, 4))
    grads = [torch.empty_like(p) for p in params]
    with pytest.raises(InputError, match="four parameters"):
        mlp_cross_entropy_(params[:3], pairs, labels, [])
    with pytest.raises(InputError, match="second layer"):
        mlp_cross_entropy_([*params[:3], params[3][:, :2]], pairs, labels, [])
    with pytest.raises(InputError, match="gradient 0 must have the shape and strides"):
        mlp_cross_entropy_(params, pairs, labels, [grads[0].contiguous(), *grads[1:]])
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 5"):
        mlp_cross_entropy_(params, pairs, labels + 6, [])
    with pytest.raises(InputError, match=r"pairs must lie in 0 \.\. 4"):
        mlp_cross_entropy_(params, pairs - 1, labels, [])
    with pytest.raises(InputError, match="at least one sample"):
        mlp_cross_entropy_(params, pairs[:, :0], labels[:, :0], [])


def test_opcheck():
    params, pairs, labels = _problem((5, 8, 6, 4))
    grads = [torch.empty_like(p) for p in params]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(mlp_cross_entropy_, (params, pairs, labels, grads), test_utils=tests)


@pytest.mark.gpu
def test_cuda_equals_cpu():
    params, pairs, labels = _problem((11, 40, 11, 30))
    grads = [torch.empty_like(p) for p in params]
    loss, correct = mlp_cross_entropy_(params, pairs, labels, grads)
    on_gpu = [p.cuda() for p in params]
    gpu_grads = [torch.empty_like(p) for p in on_gpu]
    gpu_loss, gpu_correct = mlp_cross_entropy_(on_gpu, pairs.cuda(), labels.cuda(), gpu_grads)
    torch.testing.assert_close(gpu_loss.cpu(), loss, rtol=1e-12, atol=0)
    assert torch.equal(gpu_correct.cpu(), correct)
    for a, b in zip(grads, gpu_grads, strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-11, atol=1e-14)

from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.ops import conv_relu_pool
from grokfast.ops.conv_pool import (
    conv_relu_pool_backward,
    conv_relu_pool_backward_reference,
    conv_relu_pool_winners,
    conv_relu_pool_winners_reference,
)

# E, N, C, O, k, H, W: the paper's blocks, odd sizes, many channels, kernels of 1 and 5, more samples than lanes.
SIZES = [
    (1, 20, 1, 2, 3, 16, 16),
    (7, 5, 2, 4, 3, 8, 8),
    (2, 33, 3, 5, 5, 7, 9),
    (2, 3, 17, 19, 1, 5, 4),
    (1, 17, 6, 13, 3, 3, 2),
    (3, 1, 1, 1, 7, 2, 3),
]


def _problem(size, dtype=torch.float64, kind="normal"):
    members, samples, channels, outputs, k, height, width = size
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = draw(members, samples, channels, height, width)
    weight, bias = draw(members, outputs, channels, k, k), draw(members, outputs)
    if kind == "spins":
        x = x.sign()
        weight, bias = weight.sign(), bias.sign()
    if kind == "constant":
        x = torch.ones_like(x)
    return [tensor.to(dtype).requires_grad_() for tensor in (x, weight, bias)]


def _plain_torch(x, weight, bias):
    rows = []
    for e in range(len(weight)):
        z = nn.functional.conv2d(x[e], weight[e], bias[e], padding=weight.shape[-1] // 2)
        rows.append(nn.functional.max_pool2d(torch.relu(z), 2))
    return torch.stack(rows)


def _with_gradients(op, tensors):
    out = op(*tensors)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype).to(out.device)
    return out.detach(), *torch.autograd.grad(out, tensors, upstream)


@pytest.mark.parametrize("kind", ["normal", "spins", "constant"])
@pytest.mark.parametrize("size", SIZES)
def test_equals_plain_torch(size, kind):
    tensors = _problem(size, kind=kind)
    for found, wanted in zip(
        _with_gradients(conv_relu_pool, tensors), _with_gradients(_plain_torch, tensors), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_single_precision(size):
    tensors, exact = _problem(size, torch.float32), _problem(size)
    for found, wanted in zip(
        _with_gradients(conv_relu_pool, tensors)[:1], _with_gradients(_plain_torch, exact)[:1], strict=True
    ):
        assert (found.double() - wanted).norm() <= 1e-6 * wanted.norm()


@pytest.mark.parametrize("kind", ["normal", "spins"])
@pytest.mark.parametrize("size", SIZES)
def test_every_instruction_set_equals_the_reference(isa, size, kind):
    x, weight, bias = (tensor.detach() for tensor in _problem(size, kind=kind))
    found = conv_relu_pool_winners(x, weight, bias)
    wanted = conv_relu_pool_winners_reference(x, weight, bias)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    grad = torch.randn(found[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for with_inputs in (True, False):
        found = conv_relu_pool_backward(grad, wanted[1], x, weight, with_inputs)
        again = conv_relu_pool_backward_reference(grad, wanted[1], x, weight, with_inputs)
        torch.testing.assert_close(found, again, rtol=1e-12, atol=1e-12)


def test_the_first_of_equal_maxima_takes_the_gradient():
    x = torch.tensor([[1.0, 2.0, 0.0, 0.0], [2.0, 2.0, 0.0, -1.0]], dtype=torch.float64)[None, None, None]
    x.requires_grad_()
    out = conv_relu_pool(x, x.new_ones(1, 1, 1, 1, 1), x.new_zeros(1, 1))
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert grad.flatten().tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("place", range(4))
def test_nan_is_kept(place):
    x, weight, bias = (tensor.detach() for tensor in _problem((1, 1, 1, 1, 1, 2, 2)))
    x[..., place // 2, place % 2] = torch.nan
    assert conv_relu_pool(x, weight, bias).isnan().all()


def test_gradcheck():
    tensors = _problem((2, 3, 2, 3, 3, 5, 6))
    assert torch.autograd.gradcheck(conv_relu_pool, tensors)


def test_no_gradient_at_the_inputs_unless_asked_for():
    x, weight, bias = _problem((2, 3, 1, 2, 3, 4, 4))
    out = conv_relu_pool(x.detach(), weight, bias)
    wanted = torch.autograd.grad(_plain_torch(x, weight, bias).sum(), (weight, bias))
    for a, b in zip(torch.autograd.grad(out.sum(), (weight, bias)), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_expanded_inputs():
    x, weight, bias = (tensor.detach() for tensor in _problem((3, 4, 1, 2, 3, 6, 6)))
    shared = x[:1].expand_as(x)
    torch.testing.assert_close(
        conv_relu_pool(shared, weight, bias), conv_relu_pool(shared.contiguous(), weight, bias), rtol=0, atol=0
    )


def test_same_bits_for_any_stack_and_threads(core):
    tensors = _problem((5, 40, 2, 4, 3, 8, 8), torch.float32)
    whole = _with_gradients(conv_relu_pool, tensors)
    torch.set_num_threads(4)
    assert all(torch.equal(a, b) for a, b in zip(_with_gradients(conv_relu_pool, tensors), whole, strict=True))
    torch.set_num_threads(1)
    alone = [tensor[3:4].detach().requires_grad_() for tensor in tensors]
    out = conv_relu_pool(*alone)
    upstream = torch.randn(whole[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32)[3:4]
    found = (out.detach(), *torch.autograd.grad(out, alone, upstream))
    assert all(torch.equal(a[0], b[3]) for a, b in zip(found, whole, strict=True))


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("tap", range(9))
def test_a_weight_that_is_not_finite_meets_the_zeros_of_the_border(tap, value):
    """Zero times infinity is NaN, in the windows where torch has it; on CUDA they were finite."""
    x, weight, bias = (tensor.detach() for tensor in _problem((2, 3, 2, 4, 3, 6, 5)))
    weight[1, 2, 1].view(-1)[tap] = value
    found, wanted = conv_relu_pool(x, weight, bias), _plain_torch(x, weight, bias)
    assert wanted[0].isfinite().all()
    assert not wanted[1, :, 2].isfinite().all()
    assert torch.equal(found.isnan(), wanted.isnan())
    assert torch.equal(found.isinf(), wanted.isinf())


def test_rejects_what_does_not_fit():
    x, weight, bias = (tensor.detach() for tensor in _problem((2, 3, 2, 4, 3, 6, 6)))
    with pytest.raises(InputError, match="at least 2"):
        conv_relu_pool(x[..., :1], weight, bias)
    with pytest.raises(InputError, match=r"\[E, N, C, H, W\]"):
        conv_relu_pool(x[0], weight, bias)
    with pytest.raises(InputError, match="k odd"):
        conv_relu_pool(x, weight[..., :2, :2], bias)
    with pytest.raises(InputError, match=r"expected weight \[2, O, 2, k, k\]"):
        conv_relu_pool(x, weight[:, :, :1], bias)
    with pytest.raises(InputError, match=r"expected bias \[2, 4\], got \[2, 3\]"):
        conv_relu_pool(x, weight, bias[:, :3])
    with pytest.raises(InputError, match=r"weight must be torch\.float64"):
        conv_relu_pool(x, weight.float(), bias)


def test_opcheck():
    x, weight, bias = _problem((2, 3, 2, 4, 3, 6, 5))
    torch.library.opcheck(conv_relu_pool_winners, (x, weight, bias))
    grad, winners = conv_relu_pool_winners(x, weight, bias)
    plain = [tensor.detach() for tensor in (grad, winners, x, weight)]
    torch.library.opcheck(conv_relu_pool_backward, (*plain, True))
    torch.library.opcheck(conv_relu_pool_backward, (*plain, False))


@pytest.mark.gpu
@pytest.mark.parametrize("size", SIZES)
def test_cuda_equals_cpu(size):
    tensors = _problem(size)
    on_gpu = [tensor.detach().cuda().requires_grad_() for tensor in tensors]
    out = conv_relu_pool(*on_gpu)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    found = (out.detach(), *torch.autograd.grad(out, on_gpu, upstream.cuda()))
    for a, b in zip(found, _with_gradients(conv_relu_pool, tensors), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-12, atol=1e-12)

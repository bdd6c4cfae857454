from __future__ import annotations

import pytest
import torch
from torch import nn

from grokfast.errors import InputError
from grokfast.ops import two_hot_relu, two_hot_relu_reference


def _inputs(dtype=torch.float64, members=2, width=9, size=5, samples=11, device="cpu"):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(members, width, 2 * size, generator=generator, dtype=torch.float64)
    bias = torch.randn(members, width, generator=generator, dtype=torch.float64)
    pairs = torch.randint(0, size, (members, samples, 2), generator=generator)
    return weight.to(device, dtype), bias.to(device, dtype), pairs.to(device)


def _linear(weight, bias, pairs):
    size = weight.shape[2] // 2
    rows = []
    for e in range(weight.shape[0]):
        layer = nn.Linear(2 * size, weight.shape[1], dtype=weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight[e])
            layer.bias.copy_(bias[e])
        x = torch.zeros(pairs.shape[1], 2 * size, dtype=weight.dtype)
        x[torch.arange(len(x)), pairs[e, :, 0]] = 1
        x[torch.arange(len(x)), size + pairs[e, :, 1]] = 1
        rows.append(torch.relu(layer(x)))
    return torch.stack(rows).detach()


@pytest.mark.parametrize("op", [two_hot_relu, two_hot_relu_reference])
@pytest.mark.parametrize("transposed", [False, True])
def test_equals_linear_on_two_hot_vectors(op, transposed):
    weight, bias, pairs = _inputs()
    if transposed:
        weight = weight.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(op(weight, bias, pairs), _linear(weight, bias, pairs), rtol=1e-14, atol=1e-14)


def test_gradients():
    weight, bias, pairs = _inputs()
    tensors = (weight.requires_grad_(), bias.requires_grad_())
    assert torch.autograd.gradcheck(lambda w, b: two_hot_relu(w, b, pairs), tensors)
    upstream = torch.randn(2, 11, 9, dtype=torch.float64)
    found = torch.autograd.grad(two_hot_relu(*tensors, pairs), tensors, upstream)
    wanted = torch.autograd.grad(two_hot_relu_reference(*tensors, pairs), tensors, upstream)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_equal_pairs_add_up():
    weight, bias, _ = _inputs(members=1)
    pairs = torch.zeros(1, 4, 2, dtype=torch.int64)
    bias = bias.abs() + 100  # all units active
    tensors = (weight.requires_grad_(), bias.requires_grad_())
    grad, _ = torch.autograd.grad(two_hot_relu(*tensors, pairs).sum(), tensors)
    assert (grad[0, :, [0, 5]] == 4).all()
    assert grad.sum() == 4 * 2 * 9


def test_nan_is_kept():
    weight, bias, pairs = _inputs()
    weight[0, 3] = torch.nan
    assert two_hot_relu(weight, bias, pairs)[0, :, 3].isnan().all()


def test_same_bits_for_any_stack_and_threads():
    weight, bias, pairs = _inputs(torch.float32, members=5, width=64, size=7, samples=200)
    whole = two_hot_relu(weight, bias, pairs)
    torch.set_num_threads(4)
    assert torch.equal(two_hot_relu(weight, bias, pairs), whole)
    assert torch.equal(two_hot_relu(weight[3:4], bias[3:4], pairs[3:4])[0], whole[3])


def test_rejects_indices_out_of_range():
    weight, bias, pairs = _inputs()
    pairs[1, 2, 0] = 5
    with pytest.raises(InputError, match=r"pairs must lie in 0 \.\. 4, got 0 \.\. 5"):
        two_hot_relu(weight, bias, pairs)
    with pytest.raises(InputError, match="int64"):
        two_hot_relu(weight, bias, pairs.int())
    with pytest.raises(InputError, match="2P"):
        two_hot_relu(weight[..., :-1], bias, pairs)


def test_opcheck():
    weight, bias, pairs = _inputs()
    torch.library.opcheck(two_hot_relu, (weight.requires_grad_(), bias.requires_grad_(), pairs))


@pytest.mark.gpu
def test_cuda_equals_cpu():
    tensors = _inputs(samples=300)
    results = []
    for device in ("cpu", "cuda"):
        weight, bias, pairs = (tensor.detach().to(device) for tensor in tensors)
        weight.requires_grad_(), bias.requires_grad_()
        h = two_hot_relu(weight, bias, pairs)
        results.append([h.detach(), *torch.autograd.grad(h.square().sum(), (weight, bias))])
    for cpu, gpu in zip(*results, strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=1e-12, atol=1e-12)

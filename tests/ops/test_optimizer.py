from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.ops import BoundAdam, adam_step_, adam_step_reference, sgd_step_, sgd_step_reference

SHAPES = [(3, 5, 7), (3, 40_000), (3, 1)]


def _problem(dtype, device="cpu"):
    generator = torch.Generator().manual_seed(0)

    def draw():
        tensors = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
        # One parameter is stored with its last two axes swapped, as stacked matrices are.
        tensors[0] = tensors[0].transpose(1, 2).contiguous().transpose(1, 2)
        return [tensor.to(device, dtype) for tensor in tensors]

    rows = [
        torch.tensor(values, dtype=torch.float64, device=device) for values in ([1e-2, 3e-3, 0.1], [0.0, 0.1, 1e-3])
    ]
    return draw(), [draw() for _ in range(4)], rows


def _torch_optimizer(name, params, lr, decay):
    if name == "sgd":
        return torch.optim.SGD(params, lr=lr, momentum=0.9, weight_decay=decay)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(params, lr=lr, betas=(0.9, 0.99), eps=1e-7, weight_decay=decay)


def _run(name, params, grads, rows, active, *, reference=False):
    first = [torch.zeros_like(p) for p in params]
    second = [torch.zeros_like(p) for p in params]
    for step, grad in enumerate(grads, start=1):
        if name == "sgd":
            (sgd_step_reference if reference else sgd_step_)(params, grad, first, *rows, active, 0.9)
        else:
            run = adam_step_reference if reference else adam_step_
            run(params, grad, first, second, *rows, active, step, 0.9, 0.99, 1e-7, name == "adamw")
    return params


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
@pytest.mark.parametrize("reference", [False, True])
def test_equals_torch_member_by_member(name, dtype, tolerance, reference):
    params, grads, rows = _problem(dtype)
    expected = [p.clone() for p in params]
    for e in range(3):
        members = [p[e].clone().requires_grad_() for p in params]
        optimizer = _torch_optimizer(name, members, rows[0][e].item(), rows[1][e].item())
        for grad in grads:
            for p, g in zip(members, grad, strict=True):
                p.grad = g[e].clone()
            optimizer.step()
        for whole, p in zip(expected, members, strict=True):
            whole[e] = p.detach()
    active = torch.ones(3, dtype=torch.uint8)
    for found, wanted in zip(_run(name, params, grads, rows, active, reference=reference), expected, strict=True):
        for e in range(3):
            assert (found[e] - wanted[e]).norm() <= tolerance * wanted[e].norm()


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_frozen_members_stay(name):
    params, grads, rows = _problem(torch.float64)
    before = [p.clone() for p in params]
    _run(name, params, grads, rows, torch.tensor([1, 0, 1], dtype=torch.uint8))
    for p, old in zip(params, before, strict=True):
        assert torch.equal(p[1], old[1])
        assert not torch.equal(p[0], old[0])


def test_gradient_of_a_frozen_member_may_be_nan():
    params, grads, rows = _problem(torch.float32)
    grads[0][0][1] = torch.nan
    _run("adam", params, grads[:1], rows, torch.tensor([1, 0, 1], dtype=torch.uint8))
    assert all(p.isfinite().all() for p in params)


def test_rejects_other_strides_and_types():
    params, grads, rows = _problem(torch.float64)
    state = [torch.zeros_like(p) for p in params]
    active = torch.ones(3, dtype=torch.uint8)
    grads[0][0] = grads[0][0].contiguous()
    with pytest.raises(InputError, match="strides"):
        sgd_step_(params, grads[0], state, *rows, active, 0.9)
    with pytest.raises(InputError, match="learning_rate must be float64"):
        sgd_step_(params, grads[1], state, rows[0].float(), rows[1], active, 0.9)
    with pytest.raises(InputError, match="active must be uint8"):
        sgd_step_(params, grads[1], state, *rows, active.bool(), 0.9)


def test_opcheck():
    params, grads, rows = _problem(torch.float64)
    state = [torch.zeros_like(p) for p in params]
    active = torch.ones(3, dtype=torch.uint8)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(sgd_step_, (params, grads[0], state, *rows, active, 0.9), test_utils=tests)
    more = [torch.zeros_like(p) for p in params]
    arguments = (params, grads[0], state, more, *rows, active, 1, 0.9, 0.99, 1e-8, False)
    torch.library.opcheck(adam_step_, arguments, test_utils=tests)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_cuda_equals_cpu(name):
    params, grads, rows = _problem(torch.float64)
    on_gpu = _problem(torch.float64, "cuda")
    active = torch.tensor([1, 0, 1], dtype=torch.uint8)
    _run(name, params, grads, rows, active)
    for cpu, gpu in zip(params, _run(name, *on_gpu, active.cuda()), strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bound_to_its_tensors_it_takes_the_same_steps(dtype, decoupled):
    params, grads, rows = _problem(dtype)
    active = torch.tensor([1, 0, 1], dtype=torch.uint8)
    wanted = [p.clone() for p in params]
    moments = [[torch.zeros_like(p) for p in params] for _ in range(4)]
    grad = [torch.empty_like(p) for p in params]
    bound = BoundAdam(params, grad, *moments[:2], *rows, active)
    for step, values in enumerate(grads, start=1):
        for to, value in zip(grad, values, strict=True):
            to.copy_(value)
        bound(step, 0.9, 0.99, 1e-7, decoupled)
        adam_step_(wanted, values, *moments[2:], *rows, active, step, 0.9, 0.99, 1e-7, decoupled)
    assert all(torch.equal(a, b) for a, b in zip(params, wanted, strict=True))


def test_bound_knows_its_tensors():
    params, grads, rows = _problem(torch.float32)
    active = torch.ones(3, dtype=torch.uint8)
    moments = [[torch.zeros_like(p) for p in params] for _ in range(2)]
    bound = BoundAdam(params, grads[0], *moments, *rows, active)
    assert bound.is_bound_to(params, grads[0], *moments, (*rows, active))
    assert not bound.is_bound_to(params, grads[1], *moments, (*rows, active))
    assert not bound.is_bound_to(params, grads[0], *moments, (*rows, active.clone()))
    with pytest.raises(InputError, match="learning_rate must be float64"):
        BoundAdam(params, grads[0], *moments, rows[0].float(), rows[1], active)

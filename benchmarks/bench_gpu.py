"""On a CUDA device: epochs of modular addition and Fisher diagonals by stack size, against plain torch there.

Skipped with a loud reason where there is no device. The card's floor is measured, not read from its data sheet: bytes a
second of a copy that does not fit its caches. JAX on the GPU is not among the rivals yet.
"""

from __future__ import annotations

import time

import pytest
import torch
from torch.nn import functional

from grokfast.ops import fisher_two_layer, mlp_adam_epoch_, mlp_adam_epoch_reference

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="NO CUDA DEVICE: nothing was measured")

P, HIDDEN, BATCH, STEPS = 113, 512, 64, 40
MEMBERS = [1, 32, 256, 1024]


def _stack(members):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator).mul(0.1).to("cuda")

    params = [draw(members, 2 * P, HIDDEN).transpose(1, 2), draw(members, HIDDEN), draw(members, P, HIDDEN),
              draw(members, P)]  # fmt: skip
    pairs = torch.randint(0, P, (members, BATCH * STEPS, 2), generator=generator).to("cuda")
    return (
        params,
        [torch.zeros_like(p) for p in params],
        [torch.zeros_like(p) for p in params],
        pairs,
        pairs.sum(-1) % P,
    )


def _epoch(run, stack):
    params, means, squares, pairs, labels = stack
    rate = torch.full((len(labels),), 1e-3, dtype=torch.float64, device="cuda")
    active = torch.ones(len(labels), dtype=torch.uint8, device="cuda")
    return run(params, means, squares, pairs, labels, BATCH, rate, 0 * rate, active, 0, 0.9, 0.999, 1e-8, False)


def _plain(stack):
    """Careful plain torch: stacked products, autograd, fused Adam."""
    params, _, _, pairs, labels = stack
    params = [p.clone().requires_grad_() for p in params]
    optimizer = torch.optim.Adam(params, lr=1e-3, fused=True)
    member = torch.arange(len(labels), device="cuda")[:, None]
    total = torch.zeros(len(labels), device="cuda")
    for first in range(0, labels.shape[1], BATCH):
        block = slice(first, first + BATCH)
        rows, pair = params[0].transpose(1, 2), pairs[:, block]
        hidden = torch.relu(rows[member, pair[..., 0]] + rows[member, P + pair[..., 1]] + params[1][:, None])
        logits = torch.baddbmm(params[3][:, None], hidden, params[2].transpose(1, 2))
        losses = functional.cross_entropy(logits.transpose(1, 2), labels[:, block], reduction="none").mean(1)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        total += losses.detach() / STEPS
    return total


def _seconds(run):
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def _bandwidth():
    """Bytes a second, read and written, of a copy of 1 GiB."""
    one = torch.empty(1 << 28, device="cuda")
    other = torch.empty_like(one)
    return 2 * one.nbytes / min(_seconds(lambda: other.copy_(one)) for _ in range(5))


@pytest.mark.parametrize("members", MEMBERS)
def test_epochs_of_modular_addition(benchmark, members):
    found, _ = _epoch(mlp_adam_epoch_, _stack(members))
    wanted, _ = _epoch(mlp_adam_epoch_reference, _stack(members))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(_plain(_stack(members)).double(), found, rtol=1e-3, atol=1e-4)
    stack = _stack(members)
    rival = min(_seconds(lambda: _plain(stack)) for _ in range(3))
    benchmark.pedantic(lambda: _seconds(lambda: _epoch(mlp_adam_epoch_, stack)), rounds=5, warmup_rounds=1)
    mine = benchmark.stats.stats.median
    moved = 6 * 4 * sum(p.numel() for p in stack[0]) * STEPS  # parameters and moments, read and written
    benchmark.extra_info.update(
        device=torch.cuda.get_device_name(), member_epochs_a_second=members / mine, plain_torch_over_this=rival / mine,
        over_the_floor=mine * _bandwidth() / moved,
    )  # fmt: skip


@pytest.mark.parametrize("members", MEMBERS[:3])
def test_fisher_diagonals(benchmark, members):
    params = _stack(members)[0]
    x = torch.randn(2000, 2 * P, device="cuda")
    tensors = [x, params[0].contiguous(), *params[1:]]
    found = fisher_two_layer(*tensors, None, 0)
    wanted = fisher_two_layer(x.cpu(), *(t[:1].cpu() for t in tensors[1:]), None, 0)
    for a, b in zip(found[:4], wanted[:4], strict=True):
        torch.testing.assert_close(a[:1].cpu(), b, rtol=1e-3, atol=1e-3 * b.abs().max().item())
    benchmark.pedantic(lambda: _seconds(lambda: fisher_two_layer(*tensors, None, 0)), rounds=5, warmup_rounds=1)
    benchmark.extra_info.update(
        device=torch.cuda.get_device_name(), members_a_second=members / benchmark.stats.stats.median
    )

"""Every compiled kernel as a function of its tensors, with what it should answer in plain float64 torch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from grokfast.ops import (
    _native,
    adam_step_,
    adam_step_reference,
    cnn_cross_entropy_,
    cross_entropy,
    cross_entropy_reference,
    fisher_chain,
    fisher_linear,
    fisher_linear_reference,
    fisher_patches,
    fisher_patches_reference,
    fisher_two_layer,
    fisher_two_layer_reference,
    metric_gram,
    metric_gram_reference,
    mlp_adam_epoch_,
    mlp_cross_entropy_,
    mlp_losses,
    mlp_nested_losses,
    sgd_step_,
    sgd_step_reference,
    two_hot_relu,
)
from grokfast.ops.conv_pool import (
    conv_relu_pool_backward,
    conv_relu_pool_backward_reference,
    conv_relu_pool_winners,
    conv_relu_pool_winners_reference,
)
from grokfast.ops.fisher_chain import CONV, LINEAR, MAXPOOL, RELU
from grokfast.ops.two_hot import two_hot_relu_backward, two_hot_relu_backward_reference

Tensors = list[Tensor]
Sizes = dict[str, int]


@dataclass
class Case:
    """A kernel.

    Attributes:
        make: From sizes and ``draw(*shape)``, the tensors it takes.
        run: What it answers for them.
        wanted: The same in float64, for tensors in float64.
        sizes: Typical ones; a test changes some.
        exact: Results that are integers and must agree to the bit.
        scale: How much larger than the type's rounding an error may be, relative to the largest entry.
    """

    make: Callable[..., Tensors]
    run: Callable[..., Tensors]
    wanted: Callable[..., Tensors]
    sizes: Sizes
    exact: tuple[int, ...] = ()
    scale: float = 64.0

    def problem(self, seed: int = 0, dtype: torch.dtype = torch.float64, **sizes: int) -> tuple[Sizes, Tensors]:
        """Sizes and tensors."""
        full = {**self.sizes, **sizes}
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int, below: int | None = None) -> Tensor:
            if below is not None:
                return torch.randint(0, max(1, below), shape, generator=generator)
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        return full, self.make(full, draw)

    def check(self, sizes: Sizes, tensors: Tensors, found: Tensors | None = None) -> None:
        """Assert that the kernel answers as float64 does, finite where that is."""
        found = self.run(sizes, *tensors) if found is None else found
        doubled = [t.double() if t.dtype == torch.float32 else t for t in tensors]
        eps = max((torch.finfo(t.dtype).eps for t in tensors if t.is_floating_point()), default=0.0)
        for k, (mine, wanted) in enumerate(zip(found, self.wanted(sizes, *doubled), strict=True)):
            assert mine.shape == wanted.shape, (k, mine.shape, wanted.shape)
            if mine.dtype == torch.uint8 and eps > 1e-10:  # places of maxima, of which rounding may make others
                assert int((mine != wanted).sum()) <= 1 + 1e-4 * mine.numel(), (k, mine, wanted)
                continue
            if k in self.exact:
                assert torch.equal(mine, wanted), (k, mine, wanted)
                continue
            mine, wanted = mine.double(), wanted.double()
            finite = wanted.isfinite()
            assert torch.equal(mine.isfinite(), finite), (k, mine, wanted)
            if finite.any():
                gap = (mine - wanted)[finite].abs().max().item()
                top = wanted[finite].abs().max().item()
                if self.exact == (1,):  # a softmax: where it is sure of itself, log_softmax has only rounding left
                    top = max(top, 0.05 if k else 1.0)
                assert gap <= self.scale * eps * top + torch.finfo(torch.float64).tiny, (k, gap, top)


def _members_apart(function: Callable[..., Any], count: int) -> list[Any]:
    return [function(e) for e in range(count)]


# One-hidden-layer networks on two-hot pairs.


def _mlp(s: Sizes, draw: Any) -> Tensors:
    E, P, H, C, N = (s[name] for name in "EPHCN")
    params = [draw(E, 2 * P, H).transpose(1, 2), draw(E, H), draw(E, C, H) / max(1, H) ** 0.5, draw(E, C)]
    return [*params, draw(E, N, 2, below=P), draw(E, N, below=C)]


def _first_layer(weight: Tensor, bias: Tensor, pairs: Tensor) -> Tensor:
    """By rows of the weight, not by a product, in which what is not finite times zero would spoil every pair."""
    rows = weight.transpose(1, 2)
    P, member = rows.shape[1] // 2, torch.arange(len(rows))[:, None]
    return torch.relu(rows[member, pairs[..., 0]] + rows[member, P + pairs[..., 1]] + bias[:, None])


def _mlp_loss(params: Tensors, pairs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    w1, b1, w2, b2 = params
    z = _first_layer(w1, b1, pairs) @ w2.transpose(1, 2) + b2[:, None]
    # A logit that is not finite makes its member's loss NaN, and its sample a miss.
    good = z.detach().isfinite().all(-1)
    loss = -z.log_softmax(-1).gather(-1, labels[..., None])[..., 0].mean(1)
    loss = torch.where(good.all(-1), loss, torch.nan)
    return loss, ((z.argmax(-1) == labels) & good).sum(1)


def _with_gradients(loss: Callable[..., tuple[Tensor, Tensor]], params: Tensors) -> Tensors:
    params = [p.detach().clone().requires_grad_() for p in params]
    losses, hits = loss(params)
    return [losses.detach(), hits, *torch.autograd.grad(losses.sum(), params)]


def _unwritten(tensor: Tensor) -> Tensor:
    return torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else torch.zeros_like(tensor)


def _run_mlp(s: Sizes, *t: Tensor) -> Tensors:
    grads = [_unwritten(p) for p in t[:4]]
    return [*mlp_cross_entropy_(list(t[:4]), t[4], t[5], grads), *grads]


def _nested(s: Sizes, draw: Any) -> Tensors:
    tensors = _mlp(s, draw)
    return [*tensors, *(draw(*p.shape, below=s["K"] + 1).to(torch.int32) for p in tensors[:4])]


def _wanted_nested(s: Sizes, *t: Tensor) -> Tensors:
    kept = [[torch.where(a <= k, p, 0) for p, a in zip(t[:4], t[6:], strict=True)] for k in range(s["K"])]
    found = [_mlp_loss(params, t[4], t[5]) for params in kept]
    return [torch.stack([loss for loss, _ in found], 1), torch.stack([hits for _, hits in found], 1)]


# An epoch of Adam on them. Second moments and eps are large: a step follows the gradient, not the sign of its rounding.
ADAM = (0.9, 0.99, 1e-2)


def _epoch(s: Sizes, draw: Any) -> Tensors:
    *params, pairs, labels = _mlp(s, draw)
    means = [torch.empty_like(p).copy_(draw(*p.shape)) for p in params]
    squares = [torch.empty_like(p).copy_(draw(*p.shape).square() + 0.1) for p in params]
    rates = torch.linspace(1e-3, 1e-2, s["E"], dtype=torch.float64)
    return [*params, *means, *squares, pairs, labels, rates, rates.flip(0) / 3, torch.ones(s["E"], dtype=torch.uint8)]


def _run_epoch(s: Sizes, *t: Tensor) -> Tensors:
    changed, active = [tensor.clone() for tensor in t[:12]], t[16].clone()
    groups = [changed[:4], changed[4:8], changed[8:]]
    return [*mlp_adam_epoch_(*groups, *t[12:14], s["batch"], *t[14:16], active, 0, *ADAM, False), *changed, active]


def _wanted_epoch(s: Sizes, *t: Tensor) -> Tensors:
    changed, (pairs, labels), rates, active = [x.clone() for x in t[:12]], t[12:14], t[14:16], t[16].clone()
    params, means, squares = changed[:4], changed[4:8], changed[8:]
    loss, hits = torch.zeros_like(rates[0]), torch.zeros(s["E"], dtype=torch.int64)
    for step, first in enumerate(range(0, s["N"], s["batch"]), start=1):
        x, y = (indices[:, first : first + s["batch"]] for indices in (pairs, labels))
        found, correct, *grads = _with_gradients(lambda p, x=x, y=y: _mlp_loss(p, x, y), params)
        active &= found.isfinite()
        adam_step_reference(params, grads, means, squares, *rates, active, step, *ADAM, False)
        loss += found * y.shape[1]
        hits += correct
    frozen = active == 0
    return [(loss / s["N"]).masked_fill(frozen, torch.nan), hits.masked_fill(frozen, 0), *changed, active]


# Networks of convolutions.


def _cnn(s: Sizes, draw: Any) -> Tensors:
    E, N, C, side, out, k, H = (s[name] for name in ("E", "N", "C", "side", "O", "k", "H"))
    width = 2 * (side // 2 // 2) ** 2
    shapes = [(E, out, C, k, k), (E, out), (E, 2, out, 3, 3), (E, 2), (E, H, width), (E, H), (E, 3, H), (E, 3)]
    params = [draw(*shape) / max(1, torch.Size(shape[2:]).numel()) ** 0.5 for shape in shapes]
    return [*params, draw(E, N, C, side, side), draw(E, N, below=3)]


def _cnn_loss(x: Tensor, labels: Tensor, params: Tensors) -> tuple[Tensor, Tensor]:
    losses, hits = [], []
    for e in range(len(x)):
        w = [p[e] for p in params]
        y = x[e]
        for k in (0, 2):
            y = functional.max_pool2d(functional.conv2d(y, w[k], w[k + 1], padding=w[k].shape[-1] // 2).relu(), 2)
        z = functional.linear(functional.linear(y.flatten(1), w[4], w[5]).relu(), w[6], w[7])
        spoilt = not bool(z.detach().isfinite().all())
        losses.append(functional.cross_entropy(z, labels[e]) * (torch.nan if spoilt else 1))
        hits.append((z.argmax(-1) == labels[e]).sum())
    return torch.stack(losses), torch.stack(hits)


def _run_cnn(s: Sizes, *t: Tensor) -> Tensors:
    grads = [_unwritten(p) for p in t[:8]]
    return [*cnn_cross_entropy_(list(t[:8]), t[8], t[9], grads), *grads]


def _conv(s: Sizes, draw: Any) -> Tensors:
    E, N, C, out, k = (s[name] for name in "ENCOk")
    return [draw(E, N, C, s["height"], s["width"]), draw(E, out, C, k, k), draw(E, out)]


def _conv_back(s: Sizes, draw: Any) -> Tensors:
    x, w, b = _conv(s, draw)
    pooled, winners = conv_relu_pool_winners_reference(x.double(), w.double(), b.double())
    return [draw(*pooled.shape), winners, x, w]


# Optimisers.


def _step(states: int, s: Sizes, draw: Any) -> Tensors:
    E, n = s["E"], s["n"]
    tensors = [draw(E, n) for _ in range(1 + 1 + states)]
    if states == 2:
        tensors[3] = tensors[3].square()
    rates = torch.linspace(1e-3, 1e-1, E, dtype=torch.float64)
    return [*tensors, rates, rates.flip(0) / 3, torch.arange(E).remainder(3).ne(1).to(torch.uint8)]


def _adam(step: Callable[..., None], s: Sizes, p: Tensor, g: Tensor, m: Tensor, v: Tensor, *rows: Tensor) -> Tensors:
    p, m, v = p.clone(), m.clone(), v.clone()
    step([p], [g], [m], [v], *rows, 3, 0.9, 0.99, 1e-8, False)
    return [p, m, v]


def _sgd(step: Callable[..., None], s: Sizes, p: Tensor, g: Tensor, u: Tensor, *rows: Tensor) -> Tensors:
    p, u = p.clone(), u.clone()
    step([p], [g], [u], *rows, 0.9)
    return [p, u]


# Fisher diagonals.


def _two_layer(s: Sizes, draw: Any) -> Tensors:
    E, N, inputs, H, C = (s[name] for name in "ENIHC")
    x = draw(N, inputs)
    if s["filled"] < inputs:  # rows with few non-zeros, the last of them with the most
        keep = draw(N, inputs).argsort(1)
        x = torch.where(keep < s["filled"], x, 0)
    w2 = draw(E, C, H) / max(1, H) ** 0.5
    labels = [draw(E, s["S"], N, below=C)] if s["mode"] == 1 else []
    return [x, draw(E, H, inputs) / max(1, min(inputs, s["filled"])) ** 0.5, draw(E, H), w2, draw(E, C), *labels]


def _two_layer_by(op: Callable[..., Tensors], s: Sizes, *t: Tensor) -> Tensors:
    return op(*t[:5], t[5] if len(t) > 5 else None, s["mode"])


def chain_spec(s: Sizes) -> list[int]:
    """A block of convolution, ReLU and pooling, a convolution by itself, and two linear layers."""
    c, side, out, H = s["C"], s["side"], s["O"], s["H"]
    half = side // 2
    one = [1, 1, 1, 1, 0, 0, 1, 1]
    return [
        CONV, c, side, side, out, side, side, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1,
        RELU, out, side, side, out, side, side, *one, -1, -1,
        MAXPOOL, out, side, side, out, half, half, 2, 2, 2, 2, 0, 0, 1, 1, -1, -1,
        CONV, out, half, half, 2, half - 1, half - 1, 2, 2, 1, 1, 0, 0, 1, 1, 2, 3,
        RELU, 2, half - 1, half - 1, 2, half - 1, half - 1, *one, -1, -1,
        LINEAR, 2 * (half - 1) ** 2, 1, 1, H, 1, 1, *one, 4, 5,
        RELU, H, 1, 1, H, 1, 1, *one, -1, -1,
        LINEAR, H, 1, 1, s["classes"], 1, 1, *one, 6, 7,
    ]  # fmt: skip


def _chain(s: Sizes, draw: Any) -> Tensors:
    E, c, side, out, H, classes = (s[name] for name in ("E", "C", "side", "O", "H", "classes"))
    half = side // 2
    shapes = [(out, c, 3, 3), (out,), (2, out, 2, 2), (2,), (H, 2 * (half - 1) ** 2), (H,), (classes, H), (classes,)]
    params = [draw(E, *shape) / max(1, torch.Size(shape[1:]).numel()) ** 0.5 for shape in shapes]
    labels = [draw(E, s["S"], s["N"], below=classes)] if s["mode"] == 1 else []
    return [draw(s["N"], c, side, side), *params, *labels]


def _run_chain(s: Sizes, *t: Tensor) -> Tensors:
    return fisher_chain(t[0], list(t[1:9]), chain_spec(s), t[9] if len(t) > 9 else None, s["mode"])


def _wanted_chain(s: Sizes, *t: Tensor) -> Tensors:
    def outputs(params: tuple[Tensor, ...], x: Tensor) -> Tensor:
        y = functional.max_pool2d(functional.conv2d(x[None], params[0], params[1], padding=1).relu(), 2)
        y = functional.conv2d(y, params[2], params[3]).relu().flatten(1)
        return functional.linear(functional.linear(y, params[4], params[5]).relu(), params[6], params[7])[0]

    x, params, labels = t[0], t[1:9], t[9] if len(t) > 9 else None
    totals: list[Tensors] = []
    status = []
    for e in range(s["E"]):
        own = tuple(p[e] for p in params)
        f = torch.vmap(lambda sample, own=own: outputs(own, sample))(x)
        jacobian = torch.vmap(torch.func.jacrev(outputs), (None, 0))(own, x)
        C = f.shape[1]
        if s["mode"] == 2:
            weights, sides = [torch.ones(len(x), C)], [torch.eye(C, dtype=x.dtype).expand(len(x), C, C)]
        elif s["mode"] == 0:
            p = f.softmax(-1)
            weights, sides = [p], [torch.eye(C, dtype=x.dtype) - p[:, None]]
        else:
            p = f.softmax(-1)
            sides = [(functional.one_hot(y, C) - p)[:, None] for y in labels[e]]
            weights = [torch.ones(len(x), 1)] * len(sides)
        total = [torch.zeros_like(p) for p in own]
        for weight, side in zip(weights, sides, strict=True):
            for to, j in zip(total, jacobian, strict=True):
                to += torch.einsum("nk,nkp->p", weight.to(x.dtype), (side @ j.flatten(2)).square()).view(to.shape)
        totals.append(total)
        status.append(0 if bool(f.isfinite().all()) else 1)
    if not totals:
        return [*(torch.zeros_like(p) for p in params), torch.zeros(0, dtype=torch.int64)]
    return [*(torch.stack(found) for found in zip(*totals, strict=True)), torch.tensor(status)]


def _patches(s: Sizes, draw: Any) -> Tensors:
    E, N, K, L = (s[name] for name in "ENKL")
    return [
        draw(E, N, s["groups"], s["O"], L),
        draw(E, N, s["groups"], L + K),
        torch.arange(L),
        torch.arange(K).flip(0),
    ]


def _gram(s: Sizes, draw: Any) -> Tensors:
    tensors = [draw(s["E"], s["n"]) for _ in range(3)]
    tensors += [draw(s["E"], s["n"]).abs()] if s["weighted"] else []
    return tensors + ([draw(s["E"], s["n"], below=2).to(torch.uint8)] if s["split"] else [])


def _gram_by(op: Callable[..., Tensor], s: Sizes, *t: Tensor) -> Tensors:
    metric = [t[3]] if s["weighted"] else []
    return [op([t[0]], [t[1]], [t[2]], metric, [t[-1]] if s["split"] else [])]


def _entropy_wanted(s: Sizes, z: Tensor, labels: Tensor) -> Tensors:
    loss, _, grad = cross_entropy_reference(z, labels, True)
    good = z.isfinite().all(-1)
    hits = ((z.argmax(-1) == labels) & good).sum(1)
    return [torch.where(good.all(1), loss, torch.nan), hits, torch.where(good[..., None], grad, torch.nan)]


CASES: dict[str, Case] = {
    "adam": Case(partial(_step, 2), partial(_adam, adam_step_), partial(_adam, adam_step_reference), {"E": 4, "n": 50}),
    "sgd": Case(partial(_step, 1), partial(_sgd, sgd_step_), partial(_sgd, sgd_step_reference), {"E": 4, "n": 50}),
    "two_hot_relu": Case(
        lambda s, draw: [(t := _mlp({**s, "C": 1}, draw))[0], t[1], t[4]],
        lambda s, *t: [two_hot_relu(*t)],
        lambda s, *t: [_first_layer(*t)],
        {"E": 3, "P": 5, "H": 9, "N": 10},
    ),
    "two_hot_relu_backward": Case(
        lambda s, draw: [draw(s["E"], s["N"], s["H"]), draw(s["E"], s["N"], s["H"]).relu(),
                         draw(s["E"], s["N"], 2, below=s["P"])],
        lambda s, *t: list(two_hot_relu_backward(*t, s["P"])),
        lambda s, *t: list(two_hot_relu_backward_reference(*t, s["P"])),
        {"E": 3, "P": 5, "H": 9, "N": 10},
    ),
    "cross_entropy": Case(
        lambda s, draw: [3 * draw(s["E"], s["N"], s["C"]), draw(s["E"], s["N"], below=s["C"])],
        lambda s, *t: list(cross_entropy(*t, True)),
        _entropy_wanted,
        {"E": 3, "N": 7, "C": 5}, exact=(1,),
    ),
    "mlp_cross_entropy": Case(
        _mlp, _run_mlp,
        lambda s, *t: _with_gradients(lambda p: _mlp_loss(p, t[4], t[5]), list(t[:4])),
        {"E": 3, "P": 5, "H": 20, "C": 6, "N": 30}, exact=(1,),
    ),
    "mlp_losses": Case(
        _mlp,
        lambda s, *t: list(mlp_losses(list(t[:4]), t[4], t[5])),
        lambda s, *t: list(_mlp_loss(list(t[:4]), t[4], t[5])),
        {"E": 3, "P": 5, "H": 20, "C": 6, "N": 30}, exact=(1,),
    ),
    "mlp_nested": Case(
        _nested,
        lambda s, *t: list(mlp_nested_losses(list(t[:4]), list(t[6:]), s["K"], t[4], t[5])),
        _wanted_nested, {"E": 2, "P": 5, "H": 20, "C": 6, "N": 30, "K": 5}, exact=(1,), scale=256,
    ),
    "mlp_epoch": Case(
        _epoch, _run_epoch, _wanted_epoch,
        {"E": 3, "P": 5, "H": 20, "C": 6, "N": 30, "batch": 12}, exact=(1, 14), scale=512,
    ),
    "cnn_cross_entropy": Case(
        _cnn, _run_cnn,
        lambda s, *t: _with_gradients(lambda p: _cnn_loss(t[8], t[9], p), list(t[:8])),
        {"E": 2, "N": 20, "C": 2, "side": 5, "O": 3, "k": 3, "H": 5}, exact=(1,), scale=256,
    ),
    "conv_relu_pool": Case(
        _conv,
        lambda s, *t: list(conv_relu_pool_winners(*t)),
        lambda s, *t: list(conv_relu_pool_winners_reference(*t)),
        {"E": 2, "N": 10, "C": 2, "O": 3, "k": 3, "height": 5, "width": 4}, exact=(1,),
    ),
    "conv_relu_pool_backward": Case(
        _conv_back,
        lambda s, *t: list(conv_relu_pool_backward(*t, True)),
        lambda s, *t: list(conv_relu_pool_backward_reference(*t, True)),
        {"E": 2, "N": 10, "C": 2, "O": 3, "k": 3, "height": 5, "width": 4}, scale=256,
    ),
    "fisher_linear": Case(
        lambda s, draw: [draw(s["E"], s["N"], s["T"], s["O"]), draw(s["E"], s["N"], s["T"], s["I"])],
        lambda s, *t: [fisher_linear(*t)],
        lambda s, *t: [fisher_linear_reference(*t)],
        {"E": 2, "N": 10, "T": 3, "O": 7, "I": 9},
    ),
    "fisher_patches": Case(
        _patches,
        lambda s, *t: [fisher_patches(*t)],
        lambda s, *t: [fisher_patches_reference(*t)],
        {"E": 2, "N": 10, "groups": 2, "O": 7, "K": 5, "L": 6},
    ),
    "fisher_two_layer": Case(
        _two_layer, partial(_two_layer_by, fisher_two_layer), partial(_two_layer_by, fisher_two_layer_reference),
        {"E": 2, "N": 20, "I": 9, "H": 10, "C": 5, "S": 2, "mode": 0, "filled": 99}, exact=(4,), scale=512,
    ),
    "fisher_chain": Case(
        _chain, _run_chain, _wanted_chain,
        {"E": 2, "N": 20, "C": 1, "side": 6, "O": 3, "H": 5, "classes": 3, "S": 2, "mode": 0}, exact=(8,), scale=512,
    ),
    "metric_gram": Case(
        _gram, partial(_gram_by, metric_gram), partial(_gram_by, metric_gram_reference),
        {"E": 3, "n": 50, "weighted": 1, "split": 1},
    ),
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def backend(emulated_gpu: ModuleType | None) -> Iterator[str]:
    """Where kernels run: ``cpu``, or ``emulated``, where every call goes to the CUDA kernel of its name, if any."""
    if emulated_gpu is None:
        yield "cpu"
        return

    @functools.cache
    def kernel(name: str, device: str, dtype: torch.dtype) -> Any:
        suffix = {torch.float32: "f32", torch.float64: "f64"}.get(dtype)
        return getattr(emulated_gpu, f"cuda_{name}_{suffix}", None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "_kernel", kernel)
        yield "emulated"


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    """Every kernel by name."""
    return CASES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``kernel_name`` is each kernel in turn."""
    if "kernel_name" in metafunc.fixturenames:
        metafunc.parametrize("kernel_name", list(CASES))

"""The layers that the Fisher diagonal is tested on: every test with an argument ``case`` meets them all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from grokfast.fisher import fisher_diag_reference


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], Tensor | tuple[Tensor, ...]]


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.inner(torch.tanh(self.inner(x))))


class _TiedConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.b.weight = self.a.weight
        self.out = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.b(self.a(x).tanh()).flatten(1))


class _TiedEmbedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.embed(x).mean(1).tanh(), self.embed.weight)


class _Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(4))
        self.scale, self.shift = nn.Parameter(torch.randn(1)), nn.Parameter(torch.randn(4))
        self.core = nn.Parameter(torch.randn(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = (x @ self.w + self.b).tanh() * self.scale
        return torch.einsum("ni,io->no", torch.maximum(h, self.shift), self.core)


class _Attention(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.inner = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.batch_first else x.transpose(0, 1)
        h = self.inner(x, x, x)[0]
        return self.out(h.mean(1 if self.batch_first else 0))


class _PlainAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out(functional.scaled_dot_product_attention(q, k, v))[:, -1]


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x + self.a(x).relu_()
        return self.out(h + functional.gelu(self.b(h)))


class _TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(x.transpose(0, 1)).tanh().mean(0))


class _Merged(_TimeFirst):
    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        h = self.a(x.reshape(n * t, -1)).tanh()
        return self.out(h.reshape(n, t, -1).sum(1))


class _Loop(nn.Module):
    """Value-dependent control flow, which torch.func cannot map."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.out = nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = [self.w[k] * x[:, k : k + 1] for k in range(4)]
        h = rows[0].clone()
        for row in rows[1:]:
            h = h + row if float(row.detach().abs().max()) >= 0 else h
        return self.out(h.tanh())


class _Functional(nn.Module):
    """The same weight through its module and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).tanh() @ self.a.weight.T.exp()
        return self.out(h)


class _TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Bilinear(3, 4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.b(self.a(x, y).tanh())


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.inner(x)[0][:, -1])


def _real(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def _whole(top: int, *shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randint(0, top, shape, generator=torch.Generator().manual_seed(7))


def _head(*layers: nn.Module, width: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        *(copy.deepcopy(layer) for layer in layers), nn.Tanh(), nn.Flatten(), nn.Linear(width, 3)
    )


def _trained(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm.eval()


def _cases() -> list[Case]:
    conv = nn.Conv2d
    images = _real(6, 4, 5, 6)
    return [
        Case("linear", _head(nn.Linear(5, 4), width=4), _real(7, 5)),
        Case("linear, no bias", _head(nn.Linear(5, 4, bias=False), width=4), _real(7, 5)),
        Case("linear on sequences", _head(nn.Linear(5, 4), width=24), _real(7, 2, 3, 5)),
        Case(
            "one hidden ReLU layer",
            lambda: nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 4)),
            _real(7, 5),
        ),
        Case("conv1d", _head(nn.Conv1d(4, 3, 3, stride=2, padding=1), width=9), _real(6, 4, 5)),
        Case("conv2d, stride and padding", _head(conv(4, 3, (3, 2), (2, 1), (1, 2)), width=81), images),
        Case("conv2d, uneven stride", _head(conv(4, 3, 2, stride=3), width=12), images),
        Case("conv2d, padding same", _head(conv(4, 3, (2, 3), padding="same"), width=90), images),
        Case("conv2d, dilation", _head(conv(4, 3, 2, dilation=(2, 3)), width=27), images),
        Case("conv2d, groups", _head(conv(4, 6, 3, groups=2), width=72), images),
        Case("conv2d, depthwise", _head(conv(4, 8, 3, groups=4, padding=1), width=240), images),
        *(
            Case(
                f"conv2d, padding {mode}",
                _head(conv(4, 3, 3, padding=1, padding_mode=mode), width=90),
                images,
            )
            for mode in ("circular", "reflect", "replicate")
        ),
        Case("conv3d", _head(nn.Conv3d(2, 3, (2, 3, 2), stride=(1, 2, 1)), width=36), _real(4, 2, 3, 5, 4)),
        Case("transposed conv1d", _head(nn.ConvTranspose1d(4, 3, 3, 2, 1, 1), width=30), _real(6, 4, 5)),
        Case(
            "transposed conv2d",
            _head(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dilation=2), width=6 * 12 * 14),
            images,
        ),
        Case("transposed conv3d", _head(nn.ConvTranspose3d(2, 2, 2), width=80), _real(3, 2, 1, 3, 4)),
        Case("embedding", _head(nn.Embedding(6, 4), width=12), _whole(6, 7, 3)),
        Case("embedding, padding_idx", _head(nn.Embedding(6, 4, padding_idx=2), width=12), _whole(6, 7, 3)),
        Case("layer norm", _head(nn.Linear(5, 4), nn.LayerNorm((3, 4)), width=12), _real(7, 3, 5)),
        Case("RMS norm", _head(nn.Linear(5, 4), nn.RMSNorm(4), width=12), _real(7, 3, 5)),
        Case("group norm", _head(conv(4, 4, 3), nn.GroupNorm(2, 4), width=48), images),
        Case(
            "batch norm, eval",
            lambda: _head(conv(4, 4, 3), _trained(nn.BatchNorm2d(4)), width=48)().eval(),
            images,
        ),
        Case("instance norm", _head(conv(4, 4, 3), nn.InstanceNorm2d(4, affine=True), width=48), images),
        Case(
            "chain of conv, ReLU, pool",
            lambda: nn.Sequential(
                conv(4, 2, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                conv(2, 3, 2, stride=2),
                nn.ReLU(inplace=True),
                nn.Flatten(),
                nn.Linear(3, 4),
                nn.ReLU(),
                nn.Linear(4, 3),
            ),
            images,
        ),
        Case("average pooling", _head(conv(4, 2, 3), nn.AvgPool2d(2), width=4), images),
        Case(
            "in-place activations",
            _head(conv(4, 2, 3), nn.ReLU(inplace=True), conv(2, 2, 2), nn.ELU(inplace=True), width=12),
            images,
        ),
        Case("PReLU", _head(nn.Linear(5, 4), nn.PReLU(), width=4), _real(7, 5)),
        Case("residual", _Residual, _real(7, 5)),
        Case("multi-head attention", lambda: _Attention(True), _real(5, 3, 4)),
        Case("multi-head attention, time first", lambda: _Attention(False), _real(5, 3, 4)),
        Case("plain attention", _PlainAttention, _real(5, 3, 4)),
        Case("module used twice", _Twice, _real(6, 5)),
        Case("tied convolution", _TiedConv, _real(5, 2, 4, 4)),
        Case("tied embedding", _TiedEmbedding, _whole(7, 6, 3)),
        Case("bare parameters", _Bare, _real(6, 5)),
        Case("samples on axis 1", _TimeFirst, _real(6, 3, 4)),
        Case("samples and positions merged", _Merged, _real(6, 3, 4)),
        Case("value-dependent control flow", _Loop, _real(5, 4)),
        Case("weight also used past its module", _Functional, _real(6, 5)),
        Case("two inputs", _TwoInputs, lambda: (_real(6, 3)(), _real(6, 4)())),
        Case(
            "weight norm",
            lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))),
            _real(6, 5),
        ),
        Case("recurrent", _Recurrent, _real(5, 3, 4)),
    ]


CASES = _cases()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])


@pytest.fixture
def cases() -> list[Case]:
    return CASES


@pytest.fixture
def compare() -> Callable[..., float]:
    """Largest relative error on entries above 1e-6 of the largest."""

    def largest_error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
        assert list(found) == list(expected)
        top = max(float(value.max()) for value in expected.values())
        worst = 0.0
        for name, value in expected.items():
            assert found[name].shape == value.shape
            big = value > 1e-6 * top
            if bool(big.any()):
                worst = max(worst, float(((found[name].double() - value).abs() / value)[big].max()))
            assert bool((found[name].double() <= 1e-5 * top)[~big].all())
        return worst

    return largest_error


@pytest.fixture
def brute_force() -> Callable[..., dict[str, Tensor]]:
    """The reference in float64 on the very weights and inputs of a float32 model."""

    def run(model: nn.Module, inputs: Tensor | tuple[Tensor, ...], *args: Tensor, **how: str) -> dict[str, Tensor]:
        twin = copy.deepcopy(model).double()
        args_in = inputs if isinstance(inputs, tuple) else (inputs,)
        wide = tuple(a.double() if a.is_floating_point() else a for a in args_in)
        return fisher_diag_reference(twin, wide, *args, **how)

    return run

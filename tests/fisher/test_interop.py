"""What real models are made of: fused attention, checkpoints, old norms, packing, adapters, their own operations."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from grokfast import Trajectory
from grokfast.errors import InputError
from grokfast.fisher import fisher_diag, fisher_gram, fisher_inner, fisher_vector_product

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),
    pytest.mark.filterwarnings("ignore:.*NestedTensor"),
]
TOKENS = torch.tensor([[3, 1, 4, 0], [1, 5, 0, 0], [2, 6, 5, 3], [5, 8, 0, 0], [9, 0, 0, 0]])
REAL = torch.randn(5, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, run, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.out, self.run = nn.Linear(4, 3), run

    def forward(self, x):
        return self.out(self.run(self, x))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class Wrong(Doubled):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return 2 * grad


def _encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), 2).eval()


def _packed(m, x):
    lengths = (x != 0).sum(1)
    packed = nn.utils.rnn.pack_padded_sequence(m.embed(x), lengths, batch_first=True, enforce_sorted=False)
    return m.cell(packed)[1][0][-1]


def _masked_attention(m, x):
    q, k, v = m.inner(x).unsqueeze(1).chunk(3, -1)
    seen = (x[:, :, 0] > 0).unsqueeze(1) | torch.eye(4).bool()
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen.unsqueeze(1)).squeeze(1).mean(1)


def _pruned():
    layer = nn.Linear(4, 4)
    prune.l1_unstructured(layer, "weight", amount=5)
    return layer


MODELS = {
    "encoder": (lambda: Net(lambda m, x: m.inner(x).mean(1), inner=_encoder()), REAL),
    "encoder, padded": (
        lambda: Net(lambda m, x: m.inner(m.embed(x), src_key_padding_mask=x == 0)[:, 0], inner=_encoder(),
                    embed=nn.Embedding(10, 4)),
        TOKENS,
    ),
    "attention, boolean mask": (lambda: Net(_masked_attention, inner=nn.Linear(4, 12)), REAL),
    "LSTM": (lambda: Net(lambda m, x: m.inner(x)[0][:, -1], inner=nn.LSTM(4, 4, batch_first=True)), REAL),
    "packed LSTM": (lambda: Net(_packed, embed=nn.Embedding(10, 4), cell=nn.LSTM(4, 4, batch_first=True)), TOKENS),
    "bag": (lambda: Net(lambda m, x: m.inner(x).tanh(), inner=nn.EmbeddingBag(10, 4)), TOKENS),
    "sparse": (lambda: Net(lambda m, x: m.inner(x).mean(1), inner=nn.Embedding(10, 4, sparse=True)), TOKENS),
    "own function": (lambda: Net(lambda m, x: Doubled.apply(m.inner(x[:, 0])).tanh(), inner=nn.Linear(4, 4)), REAL),
    "checkpoint": (
        lambda: Net(lambda m, x: checkpoint(lambda h: m.inner(h).tanh(), x[:, 0], use_reentrant=False),
                    inner=nn.Linear(4, 4)),
        REAL,
    ),
    "pruned": (lambda: Net(lambda m, x: m.inner(x[:, 0]).tanh(), inner=_pruned()), REAL),
    "old weight norm": (
        lambda: Net(lambda m, x: m.inner(x[:, 0]).tanh(), inner=nn.utils.weight_norm(nn.Linear(4, 4))), REAL,
    ),
    "squeezes": (lambda: Net(lambda m, x: m.inner(x[:, :1]).squeeze(), inner=nn.Linear(4, 4)), REAL),
}  # fmt: skip


def _jacobian(model, x):
    """``[n, C, P]``, by autograd."""
    outputs, leaves = model(x), list(model.parameters())
    rows = []
    for n in range(len(x)):
        for c in range(3):
            grads = torch.autograd.grad(outputs[n, c], leaves, retain_graph=True, allow_unused=True)
            parts = [torch.zeros_like(p) if g is None else g.to_dense() for g, p in zip(grads, leaves, strict=True)]
            rows.append(torch.cat([part.flatten() for part in parts]))
    p = outputs.detach().softmax(-1)
    return torch.stack(rows).view(len(x), 3, -1), torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)


@pytest.mark.parametrize("name", MODELS)
def test_products_and_trajectories(name):
    make, x = MODELS[name]
    torch.manual_seed(0)
    model = make().double()
    model(x)
    j, middle = _jacobian(model, x)
    matrix = torch.einsum("ncp,ncd,ndq->pq", j, middle, j) / len(x)
    d = torch.randn(2, matrix.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(fisher_diag(model, x).flat(), matrix.diag(), rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(fisher_inner(model, x, d[0], d[1]), d[0] @ matrix @ d[1], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(fisher_gram(model, x, list(d)), d @ matrix @ d.T, rtol=1e-8, atol=1e-12)
    product = fisher_vector_product(model, x, d[0])
    flat = torch.cat([part.flatten() for part in product.values()])
    torch.testing.assert_close(flat, matrix @ d[0], rtol=1e-8, atol=1e-12)
    trajectory = Trajectory(model, x, "softmax-all+softmax-all-full")
    trajectory.record()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.01)
    trajectory.record()
    step = torch.full((matrix.shape[0],), 0.01, dtype=torch.float64)
    found = trajectory.measures()["geometry_softmax_all_full_length"][0]
    torch.testing.assert_close(found, (step @ matrix @ step).sqrt(), rtol=1e-6, atol=0)


def test_an_operation_that_differentiates_once_is_refused_by_the_products():
    model = Net(lambda m, x: Wrong.apply(m.inner(x[:, 0])).tanh(), inner=nn.Linear(4, 4)).double()
    u = torch.ones(35, dtype=torch.float64)
    fisher_diag(model, REAL)
    with pytest.raises(InputError, match="differentiated"):
        fisher_inner(model, REAL, u, u)


def test_models_written_for_float32():
    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x):
            assert x.dtype == torch.float32
            return self.a(x).tanh()

    torch.manual_seed(0)
    model, x = Strict(), REAL[:, 0].float()
    twin = nn.Sequential(copy.deepcopy(model.a), nn.Tanh())
    torch.testing.assert_close(fisher_diag(model, x).flat(), fisher_diag(twin, x).flat())


def test_adapters_on_a_frozen_base_of_another_dtype():
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Parameter(torch.randn(3, 4).bfloat16(), requires_grad=False)
            self.packed = nn.Parameter(torch.randint(-5, 5, (3, 4), dtype=torch.int8), requires_grad=False)
            self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)

        def forward(self, x):
            frozen = x @ self.base.to(x.dtype).T + x @ (self.packed.to(x.dtype) / 10).T
            return frozen + self.up(self.down(x))

    torch.manual_seed(0)
    model, x = Adapted(), REAL[:, 0].float()
    found = fisher_diag(model, x)
    j, middle = _jacobian(_Frozen(model), x)
    torch.testing.assert_close(found.flat(), torch.einsum("ncp,ncd,ndp->p", j, middle, j) / 5, rtol=1e-4, atol=1e-7)


class _Frozen(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def parameters(self):
        return (p for p in self.inner.parameters() if p.requires_grad)

    def forward(self, x):
        return self.inner(x)


def test_buffers_of_inference_mode_and_parameters_in_lists():
    with torch.inference_mode():
        scale = torch.full((4,), 1.5, dtype=torch.float64)

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 3).double()
            self.held = [self.a.weight]
            self.register_buffer("scale", scale)

        def forward(self, x):
            return (x * self.scale) @ self.held[0].T + self.a.bias

    torch.manual_seed(0)
    model, x = Listed(), REAL[:, 0]
    expected = fisher_diag(model.a, x * 1.5).flat()
    torch.testing.assert_close(fisher_diag(model, x).flat(), expected)
    stack = {name: torch.stack([p.detach(), p.detach()]) for name, p in model.named_parameters()}
    torch.testing.assert_close(fisher_diag(model, x, params=stack).flat(), expected.expand(2, -1))
    u = torch.ones(15, dtype=torch.float64)
    torch.testing.assert_close(fisher_inner(model, x, u, u), fisher_inner(model.a, x * 1.5, u, u))


def _kernels() -> tuple[bool, ...]:
    names = ("flash_sdp_enabled", "mem_efficient_sdp_enabled", "math_sdp_enabled")
    return *(getattr(torch.backends.cuda, name)() for name in names), torch.backends.mha.get_fastpath_enabled()


class _Looks(Doubled):
    seen: ClassVar = set()  # of a class: what a function on a model holds on to is copied with the model

    @staticmethod
    def backward(ctx, grad):
        _Looks.seen.add(("backward", _kernels()))
        return 2 * grad


def test_the_choice_of_attention_kernels_is_left_alone():
    """Torch keeps it for the whole process: it is looked at whenever the model runs, and where its gradients end."""
    _Looks.seen.clear()

    def run(m, x):
        _Looks.seen.add(("forward", _kernels()))
        return _Looks.apply(m.inner(x).mean(1))

    model = Net(run, inner=_encoder()).double()
    u = torch.ones(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    expected = _kernels()
    fisher_inner(model, REAL, u, u)
    fisher_diag(model, REAL)
    assert _Looks.seen == {("forward", expected), ("backward", expected)}

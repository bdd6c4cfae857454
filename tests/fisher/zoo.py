"""Architectures that people have, written small: a name, a module and random inputs of n samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

Make = Callable[[], nn.Module]
Inputs = Callable[[int, torch.Generator], tuple[Tensor, ...]]
ZOO: dict[str, tuple[Make, Inputs]] = {}


def vectors(*shape):
    return lambda n, g: (torch.randn(n, *shape, generator=g, dtype=torch.float64),)


def padded(n, g):
    x = torch.randint(1, 12, (n, 5), generator=g)
    return (x * (torch.arange(5) < torch.randint(1, 6, (n, 1), generator=g)),)


def with_lengths(n, g):
    (x,) = padded(n, g)
    return x, (x != 0).sum(1)


def add(name, inputs=None):
    inputs = inputs or vectors(4)

    def note(make):
        ZOO[name] = make, inputs
        return make

    return note


def layers(name, inputs, *modules):
    ZOO[name] = lambda: nn.Sequential(*(m() for m in modules)), inputs


L = partial
images = vectors(2, 6, 6)
series = vectors(5, 4)
layers("logistic regression", vectors(4), L(nn.Linear, 4, 3))
layers("MLP, ReLU", vectors(4), L(nn.Linear, 4, 6), nn.ReLU, L(nn.Linear, 6, 3))
layers("MLP, GELU, layer norm", vectors(4), L(nn.Linear, 4, 6), nn.GELU, L(nn.LayerNorm, 6), L(nn.Linear, 6, 3))
layers("MLP, SiLU, RMS norm", vectors(4), L(nn.Linear, 4, 6), nn.SiLU, L(nn.RMSNorm, 6), L(nn.Linear, 6, 3))
layers("MLP, PReLU", vectors(4), L(nn.Linear, 4, 6), L(nn.PReLU, 6), L(nn.Linear, 6, 3))
layers("maxout by GLU", vectors(4), L(nn.Linear, 4, 8), nn.GLU, L(nn.Linear, 4, 3))
layers("LeNet", images, L(nn.Conv2d, 2, 3, 3), nn.ReLU, L(nn.MaxPool2d, 2), nn.Flatten, L(nn.Linear, 12, 3))
layers("all-convolutional", images, L(nn.Conv2d, 2, 4, 3), nn.ELU, L(nn.Conv2d, 4, 3, 1), L(nn.AdaptiveAvgPool2d, 1),
       nn.Flatten)  # fmt: skip
layers("group norm net", images, L(nn.Conv2d, 2, 4, 3), L(nn.GroupNorm, 2, 4), nn.Hardswish, nn.Flatten,
       L(nn.Linear, 64, 3))  # fmt: skip
layers("instance norm net", images, L(nn.Conv2d, 2, 4, 3), L(nn.InstanceNorm2d, 4, affine=True), nn.Flatten,
       L(nn.Linear, 64, 3))  # fmt: skip
layers("autoencoder head", images, L(nn.Conv2d, 2, 3, 2, 2), nn.Tanh, L(nn.ConvTranspose2d, 3, 2, 2, 2), nn.Flatten,
       L(nn.Linear, 72, 3))  # fmt: skip
layers("1-d convolutional", vectors(3, 8), L(nn.Conv1d, 3, 4, 3, padding=1), nn.ReLU, L(nn.AvgPool1d, 2), nn.Flatten,
       L(nn.Linear, 16, 3))  # fmt: skip
layers("3-d convolutional", vectors(1, 3, 3, 3), L(nn.Conv3d, 1, 2, 2), nn.ReLU, nn.Flatten, L(nn.Linear, 16, 3))
layers("circular padding", images, L(nn.Conv2d, 2, 2, 3, padding=1, padding_mode="circular"), nn.Flatten,
       L(nn.Linear, 72, 3))  # fmt: skip
layers("upsampling", images, L(nn.Conv2d, 2, 2, 3, 2), L(nn.Upsample, scale_factor=2), nn.Flatten, L(nn.Linear, 32, 3))
layers("pixel shuffle", images, L(nn.Conv2d, 2, 4, 3, 2), L(nn.PixelShuffle, 2), nn.Flatten, L(nn.Linear, 16, 3))
layers("unfold", images, L(nn.Unfold, 3, stride=3), nn.Flatten, L(nn.Linear, 72, 3))
layers("frozen dropout", vectors(4), L(nn.Linear, 4, 6), lambda: nn.Dropout(0.3).eval(), nn.ReLU, L(nn.Linear, 6, 3))
layers("batch norm, eval", images, L(nn.Conv2d, 2, 3, 3), lambda: nn.BatchNorm2d(3).eval(), nn.ReLU, nn.Flatten,
       L(nn.Linear, 48, 3))  # fmt: skip


class Net(nn.Module):
    """Layers by name, and a function of them and the inputs."""

    def __init__(self, run, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.run = run

    def forward(self, *args):
        return self.run(self, *args)


def net(name, inputs, run, **modules):
    ZOO[name] = lambda: Net(run, **{key: make() for key, make in modules.items()}), inputs


lin = lambda a, b, **how: L(nn.Linear, a, b, **how)  # noqa: E731
net("ResNet", images, lambda m, x: m.out((m.c(F.relu(m.b(F.relu(m.a(x))))) + m.skip(x)).mean((2, 3))),
    a=L(nn.Conv2d, 2, 4, 3, padding=1), b=L(nn.Conv2d, 4, 4, 3, padding=1), c=lambda: nn.BatchNorm2d(4).eval(),
    skip=L(nn.Conv2d, 2, 4, 1), out=lin(4, 3))  # fmt: skip
net("DenseNet", images, lambda m, x: m.out(torch.cat([x, m.a(x)], 1).flatten(1)),
    a=L(nn.Conv2d, 2, 2, 3, padding=1), out=lin(144, 3))  # fmt: skip
net("MobileNet block", images, lambda m, x: m.out(m.point(F.relu6(m.depth(x))).mean((2, 3))),
    depth=L(nn.Conv2d, 2, 2, 3, groups=2), point=L(nn.Conv2d, 2, 5, 1), out=lin(5, 3))  # fmt: skip
net("squeeze and excitation", images, lambda m, x: m.out((x * m.gate(x.mean((2, 3))).sigmoid()[..., None, None])
    .flatten(1)), gate=lin(2, 2), out=lin(72, 3))  # fmt: skip
net("ConvNeXt block", images, lambda m, x: m.out((x + m.down(F.gelu(m.up(m.norm(m.dw(x).permute(0, 2, 3, 1)))))
    .permute(0, 3, 1, 2)).mean((2, 3))), dw=L(nn.Conv2d, 2, 2, 3, padding=1, groups=2), norm=L(nn.LayerNorm, 2),
    up=lin(2, 6), down=lin(6, 2), out=lin(2, 3))  # fmt: skip
net("U-Net", images, lambda m, x: m.out(torch.cat([m.up(F.relu(m.down(x))), x], 1).flatten(1)),
    down=L(nn.Conv2d, 2, 3, 2, 2), up=L(nn.ConvTranspose2d, 3, 2, 2, 2), out=lin(144, 3))  # fmt: skip
net("frames of a video", vectors(3, 1, 4, 4), lambda m, x: m.out(m.a(x.flatten(0, 1)).tanh().view(len(x), 3, -1)
    .mean(1)), a=L(nn.Conv2d, 1, 2, 3), out=lin(8, 3))  # fmt: skip
net("siamese", vectors(2, 4), lambda m, x: m.out((m.a(x[:, 0]).tanh() - m.a(x[:, 1]).tanh()).abs()),
    a=lin(4, 5), out=lin(5, 3))  # fmt: skip
net("deep sets", series, lambda m, x: m.out(m.a(x).tanh().sum(1)), a=lin(4, 5), out=lin(5, 3))
net("PointNet", series, lambda m, x: m.out(m.a(x).amax(1)), a=lin(4, 5), out=lin(5, 3))
net("MLP-Mixer", series, lambda m, x: m.out((x + m.tokens(m.norm(x).mT).mT).mean(1)),
    norm=L(nn.LayerNorm, 4), tokens=lin(5, 5), out=lin(4, 3))  # fmt: skip
net("two inputs, bilinear", lambda n, g: vectors(3)(n, g) + vectors(4)(n, g), lambda m, x, y: m.out(m.a(x, y).tanh()),
    a=L(nn.Bilinear, 3, 4, 5), out=lin(5, 3))  # fmt: skip
net("gated linear unit", vectors(4), lambda m, x: m.out(F.silu(m.gate(x)) * m.up(x)), gate=lin(4, 6, bias=False),
    up=lin(4, 6, bias=False), out=lin(6, 3))  # fmt: skip
net("mixture of experts, soft", vectors(4), lambda m, x: (torch.stack([e(x) for e in m.experts], 1)
    * m.gate(x).softmax(-1).unsqueeze(-1)).sum(1), experts=lambda: nn.ModuleList(nn.Linear(4, 3) for _ in range(3)),
    gate=lin(4, 3))  # fmt: skip


def _routed(m, x):
    weight, chosen = m.gate(x).softmax(-1).max(-1)
    out = x.new_zeros(len(x), 3)
    for k, expert in enumerate(m.experts):
        rows = chosen == k
        out[rows] = weight[rows].unsqueeze(1) * expert(x[rows])
    return out


net("mixture of experts, routed", vectors(4), _routed, gate=lin(4, 3),
    experts=lambda: nn.ModuleList(nn.Linear(4, 3) for _ in range(3)))  # fmt: skip
embed = L(nn.Embedding, 12, 4, padding_idx=0)
net("bag of words", padded, lambda m, x: m.out(m.embed(x).mean(1).tanh()), embed=embed, out=lin(4, 3))
net("embedding bag", padded, lambda m, x: m.out(m.bag(x).tanh()), bag=L(nn.EmbeddingBag, 12, 4), out=lin(4, 3))
net("embedding bag, sums and padding", padded, lambda m, x: m.out(m.bag(x).tanh()),
    bag=L(nn.EmbeddingBag, 12, 4, mode="sum", padding_idx=0), out=lin(4, 3))  # fmt: skip
net("sparse embedding", padded, lambda m, x: m.out(m.embed(x).sum(1).tanh()),
    embed=L(nn.Embedding, 12, 4, sparse=True), out=lin(4, 3))  # fmt: skip
net("text CNN", padded, lambda m, x: m.out(m.conv(m.embed(x).mT).relu().amax(2)), embed=embed,
    conv=L(nn.Conv1d, 4, 5, 3), out=lin(5, 3))  # fmt: skip
net("masked mean, sorted", padded, lambda m, x: _sorted_mean(m, x), embed=embed, out=lin(4, 3))
net("tokens without padding", padded, lambda m, x: _without_padding(m, x), embed=embed, inner=lin(4, 5), out=lin(5, 3))


def _sorted_mean(m, x):
    lengths, order = (x != 0).sum(1).sort(descending=True)
    return m.out(((m.embed(x[order])).sum(1) / lengths.unsqueeze(1)).tanh()[order.argsort()])


def _without_padding(m, x):
    rows = m.inner(m.embed(x)[x != 0]).tanh()
    return m.out(rows.new_zeros(*x.shape, 5).masked_scatter((x != 0).unsqueeze(-1), rows).sum(1))


for cell in (nn.RNN, nn.GRU, nn.LSTM):
    kind = cell.__name__
    net(f"{kind}, batch first", series, lambda m, x: m.out(m.cell(x)[0][:, -1]), cell=L(cell, 4, 5, batch_first=True),
        out=lin(5, 3))  # fmt: skip
    net(f"{kind}, time first, both directions, two layers", series, lambda m, x: m.out(m.cell(x.mT.permute(2, 0, 1))[0]
        .mean(0)), cell=L(cell, 4, 3, 2, bidirectional=True), out=lin(6, 3))  # fmt: skip
    net(f"{kind}, packed", with_lengths, lambda m, x, lengths: m.out(_last(m, x, lengths)), embed=embed,
        cell=L(cell, 4, 5, batch_first=True), out=lin(5, 3))  # fmt: skip


def _last(m, x, lengths):
    packed = nn.utils.rnn.pack_padded_sequence(m.embed(x), lengths, batch_first=True, enforce_sorted=False)
    last = m.cell(packed)[1]
    return (last[0] if isinstance(last, tuple) else last)[-1]


net("LSTM with projections", series, lambda m, x: m.out(m.cell(x)[0].mean(1)),
    cell=L(nn.LSTM, 4, 5, batch_first=True, proj_size=3), out=lin(3, 3))  # fmt: skip
net("LSTM cell", series, lambda m, x: m.out(_steps(m, x)), cell=L(nn.LSTMCell, 4, 5), out=lin(5, 3))
net("GRU, squeezed state", series, lambda m, x: m.out(m.cell(x)[1].squeeze(0)), cell=L(nn.GRU, 4, 5, batch_first=True),
    out=lin(5, 3))  # fmt: skip


def _steps(m, x):
    h = c = x.new_zeros(len(x), 5)
    for t in range(x.shape[1]):
        h, c = m.cell(x[:, t], (h, c))
    return h


def _heads(m, x, causal=False):
    q, k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in m.qkv(x).chunk(3, -1))
    a = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return x + m.proj(a.transpose(1, 2).flatten(2))


def _vit(m, x):
    h = m.patch(x).flatten(2).mT
    h = torch.cat([m.token.expand(len(x), -1, -1), h], 1) + m.position
    h = _heads(m, h)
    return m.out(m.norm(h + m.down(F.gelu(m.up(h))))[:, 0])


def parameter(*shape):
    return lambda: nn.Parameter(torch.randn(shape) / 3)


mlp = {"up": lin(4, 6), "down": lin(6, 4)}
net("ViT", images, _vit, patch=L(nn.Conv2d, 2, 4, 3, 3), token=parameter(1, 1, 4), position=parameter(1, 5, 4),
    qkv=lin(4, 12), proj=lin(4, 4), norm=L(nn.LayerNorm, 4), out=lin(4, 3), **mlp)  # fmt: skip
net("GPT, tied", padded, lambda m, x: F.linear(m.norm(_heads(m, m.embed(x) + m.position, True))[:, -1],
    m.embed.weight[:3]), embed=L(nn.Embedding, 12, 4), position=parameter(5, 4), qkv=lin(4, 12), proj=lin(4, 4),
    norm=L(nn.LayerNorm, 4))  # fmt: skip
net("multi-head attention", series, lambda m, x: m.out(m.a(x, x, x)[0].mean(1)),
    a=L(nn.MultiheadAttention, 4, 2, batch_first=True), out=lin(4, 3))  # fmt: skip
net("attention pooling", series, lambda m, x: m.out((m.score(x).softmax(1) * x).sum(1)), score=lin(4, 1), out=lin(4, 3))
encoder = lambda: nn.TransformerEncoder(  # noqa: E731
    nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), 2
).eval()
net("transformer encoder", series, lambda m, x: m.out(m.encoder(x).mean(1)), encoder=encoder, out=lin(4, 3))
net("transformer encoder, padding mask", padded, lambda m, x: m.out(
    (m.encoder(m.embed(x), src_key_padding_mask=x == 0) * (x != 0).unsqueeze(-1)).sum(1)),
    embed=L(nn.Embedding, 12, 4), encoder=encoder, out=lin(4, 3))  # fmt: skip
net("transformer, norm first", series, lambda m, x: m.out(m.layer(x)[:, 0]), layer=lambda: nn.TransformerEncoderLayer(
    4, 2, 6, batch_first=True, norm_first=True, activation="gelu").eval(), out=lin(4, 3))  # fmt: skip
net("linear attention", series, lambda m, x: m.out((F.elu(m.q(x)) + 1) @ ((F.elu(m.k(x)) + 1).mT @ m.v(x))).mean(1),
    q=lin(4, 4), k=lin(4, 4), v=lin(4, 4), out=lin(4, 3))  # fmt: skip
net("graph convolution", lambda n, g: (torch.randn(n, 5, 4, generator=g, dtype=torch.float64),
    torch.randint(0, 2, (n, 5, 5), generator=g).double()), lambda m, x, a: m.out((a @ m.a(x)).relu().mean(1)),
    a=lin(4, 5), out=lin(5, 3))  # fmt: skip
net("neural ODE, Euler", vectors(4), lambda m, x: m.out(_euler(m, x)), f=lin(4, 4), out=lin(4, 3))
net("hypernetwork", vectors(4), lambda m, x: torch.einsum("ni,nio->no", x, m.h(x).tanh().view(-1, 4, 3)), h=lin(4, 12))
net("radial basis functions", vectors(4), lambda m, x: m.out((-torch.cdist(x, m.centres).square()).exp()),
    centres=parameter(5, 4), out=lin(5, 3))  # fmt: skip
net("einsum and bare parameters", vectors(4), lambda m, x: torch.einsum("ni,io->no", x * m.scale + m.shift, m.w),
    scale=parameter(4), shift=parameter(4), w=parameter(4, 3))  # fmt: skip
net("Fourier features", vectors(4), lambda m, x: m.out(torch.cat([m.a(x).sin(), m.a(x).cos()], -1)), a=lin(4, 3),
    out=lin(6, 3))  # fmt: skip
net("low-rank adapter on a frozen layer", vectors(4), lambda m, x: m.out(m.base(x).tanh()) + m.up(m.down(x)),
    base=lambda: nn.Linear(4, 5).requires_grad_(False), out=lin(5, 3), down=lin(4, 2, bias=False),
    up=lin(2, 3, bias=False))  # fmt: skip
net("gradient checkpointing", vectors(4), lambda m, x: m.out(checkpoint(lambda h: m.a(h).tanh(), x,
    use_reentrant=False)), a=lin(4, 5), out=lin(5, 3))  # fmt: skip
net("gradient checkpointing, reentrant", vectors(4), lambda m, x: m.out(checkpoint(lambda h: m.b(h).tanh(),
    m.a(x), use_reentrant=True)), a=lin(4, 4), b=lin(4, 5), out=lin(5, 3))  # fmt: skip
net("weight norm", vectors(4), lambda m, x: m.out(m.a(x).tanh()), out=lin(5, 3),
    a=lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)))  # fmt: skip
net("weight norm, old", vectors(4), lambda m, x: m.out(m.a(x).tanh()), out=lin(5, 3),
    a=lambda: nn.utils.weight_norm(nn.Linear(4, 5)))  # fmt: skip
net("spectral norm, old", vectors(4), lambda m, x: m.out(m.a(x).tanh()), out=lin(5, 3),
    a=lambda: nn.utils.spectral_norm(nn.Linear(4, 5)).eval())  # fmt: skip
net("orthogonal", vectors(4), lambda m, x: m.out(m.a(x).tanh()), out=lin(4, 3),
    a=lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)))  # fmt: skip


def _pruned():
    layer = nn.Linear(4, 5)
    prune.l1_unstructured(layer, "weight", amount=6)
    return layer


net("pruned by torch", vectors(4), lambda m, x: m.out(m.a(x).tanh()), a=_pruned, out=lin(5, 3))


def _euler(m, x):
    for _ in range(4):
        x = x + 0.25 * m.f(x).tanh()
    return x


class Scaled(torch.autograd.Function):
    """An operation of one's own, of the old form."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return x * scale.exp()

    @staticmethod
    def backward(ctx, grad):
        x, scale = ctx.saved_tensors
        found = grad * scale.exp()
        return found, (found * x).sum_to_size(scale.shape)


net("an operation of one's own", vectors(4), lambda m, x: m.out(Scaled.apply(m.a(x), m.scale).tanh()), a=lin(4, 5),
    scale=parameter(5), out=lin(5, 3))  # fmt: skip
net("squeezes everything", vectors(1, 4), lambda m, x: m.out(m.a(x).tanh().squeeze()), a=lin(4, 5), out=lin(5, 3))
net("decides by values", vectors(4), lambda m, x: m.out(m.a(x).relu() if bool(m.a.weight.sum() > -1e9) else x),
    a=lin(4, 5), out=lin(5, 3))  # fmt: skip
net("loops over samples", vectors(4), lambda m, x: torch.stack([m.out(m.a(row).tanh()) for row in x]), a=lin(4, 5),
    out=lin(5, 3))  # fmt: skip
net("one logit subtracted", vectors(4), lambda m, x: (lambda f: f - f.mean(-1, keepdim=True))(m.out(x)), out=lin(4, 3))
net("temperature", vectors(4), lambda m, x: m.out(x) / m.t.exp(), out=lin(4, 3), t=parameter())
net("a masked class", vectors(4), lambda m, x: m.out(x).masked_fill(torch.tensor([False, False, False, True]),
    -math.inf), out=lin(4, 4))  # fmt: skip

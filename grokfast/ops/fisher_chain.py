"""The Fisher diagonal of a chain of convolutions, ReLUs, max poolings and linear layers, in one compiled pass."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from grokfast.errors import InputError
from grokfast.ops._native import call, check_same, kernel
from grokfast.ops.fisher_two_layer import LabelMode

FIELDS = 17
CONV, RELU, MAXPOOL, LINEAR = range(4)


class _Layer(NamedTuple):
    """One layer of a chain, as its 17 numbers say."""

    kind: int
    into: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    weight: int
    bias: int

    @classmethod
    def parse(cls, spec: Sequence[int]) -> list[_Layer]:
        """The layers of a chain."""
        layers = []
        for start in range(0, len(spec), FIELDS):
            n = tuple(spec[start : start + FIELDS])
            layers.append(cls(n[0], n[1:4], n[4:7], n[7:9], n[9:11], n[11:13], n[13:15], n[15], n[16]))
        return layers


Saved = list[tuple[Tensor, Tensor | None]]


def _forward(x: Tensor, params: Sequence[Tensor], layers: Sequence[_Layer]) -> tuple[Tensor, Saved]:
    """Outputs of the chain for one member and one sample, and what each layer's backward pass needs."""
    saved: Saved = []
    for layer in layers:
        bias = params[layer.bias] if layer.bias >= 0 else None
        indices = None
        x = x.reshape(1, *layer.into)
        if layer.kind == CONV:
            saved.append((x, None))
            x = functional.conv2d(x, params[layer.weight], bias, layer.stride, layer.padding, layer.dilation)
        elif layer.kind == RELU:
            x = x.relu()
            saved.append((x, None))
        elif layer.kind == MAXPOOL:
            pooled, indices = functional.max_pool2d(x, layer.kernel, layer.stride, return_indices=True)
            saved.append((x, indices))
            x = pooled
        else:
            saved.append((x.flatten(1), None))
            x = functional.linear(x.flatten(1), params[layer.weight], bias)
    return x.flatten(), saved


def _gradients(g: Tensor, saved: Saved, params: Sequence[Tensor], layers: Sequence[_Layer]) -> list[Tensor]:
    """Gradients of g · f with respect to the parameters, layer by layer from the last."""
    grads = [torch.zeros_like(p) for p in params]
    for layer, (x, indices) in zip(reversed(layers), reversed(saved), strict=True):
        g = g.reshape(1, *layer.out)
        if layer.kind == CONV:
            sizes = [layer.out[0]] if layer.bias >= 0 else None
            wanted = [True, True, layer.bias >= 0]
            g, at_weight, at_bias = torch.ops.aten.convolution_backward(
                g, x, params[layer.weight], sizes, layer.stride, layer.padding, layer.dilation,
                False, [0, 0], 1, wanted,
            )  # fmt: skip
            grads[layer.weight] += at_weight
            if layer.bias >= 0:
                grads[layer.bias] += at_bias
        elif layer.kind == RELU:
            g = g * (x > 0)
        elif layer.kind == MAXPOOL:
            assert indices is not None
            g = torch.zeros_like(x).flatten(2).scatter_add(2, indices.flatten(2), g.flatten(2))
        else:
            g = g.flatten(1)
            grads[layer.weight] += g.T @ x
            if layer.bias >= 0:
                grads[layer.bias] += g[0]
            g = g @ params[layer.weight]
    return grads


def fisher_chain_reference(
    x: Tensor, params: list[Tensor], spec: list[int], labels: Tensor | None, mode: int
) -> list[Tensor]:
    """The readable twin of :func:`fisher_chain`: one sample and one label at a time, in float64."""
    members = params[0].shape[0]
    layers = _Layer.parse(spec)
    totals = [torch.zeros_like(p, dtype=torch.float64) for p in params]
    status = torch.zeros(members, dtype=torch.int64)
    for e in range(members):
        own = [p[e].detach().double() for p in params]
        for n in range(x.shape[0]):
            f, saved = _forward(x[n].detach().double(), own, layers)
            if not bool(torch.isfinite(f).all()):
                status[e] = 1
                break
            units = torch.eye(len(f), dtype=torch.float64, device=f.device)
            p = f.softmax(-1)
            if mode == LabelMode.GAUSSIAN:
                terms = [(1.0, unit) for unit in units]
            elif labels is None:
                terms = [(float(weight), unit - p) for weight, unit in zip(p, units, strict=True)]
            else:
                terms = [(1.0, units[int(label)] - p) for label in labels[e, :, n]]
            for weight, g in terms:
                for total, grad in zip(totals, _gradients(g, saved, own, layers), strict=True):
                    total[e] += weight * grad.square()
    return [*(total.to(x.dtype) for total in totals), status.to(x.device)]


def _check(x: Tensor, params: list[Tensor], spec: list[int], labels: Tensor | None, mode: int) -> None:
    if x.dim() < 2 or not params or len(spec) == 0 or len(spec) % FIELDS:
        raise InputError(
            f"fisher_chain expects x [N, ...], parameters and {FIELDS} numbers a layer, got x "
            f"{list(x.shape)}, "
            f"{len(params)} parameters and {len(spec)} numbers"
        )
    check_same(x, **{f"params_{k}": p for k, p in enumerate(params)})
    members = params[0].shape[0]
    if any(p.dim() == 0 or p.shape[0] != members for p in params):
        raise InputError(f"params must share the leading axis E = {members}")
    size = spec[1] * spec[2] * spec[3]
    if x.shape[1:].numel() != size:
        raise InputError(f"x must hold {size} values a sample, got {list(x.shape)}")
    for k in range(0, len(spec), FIELDS):
        kind, weight, bias = spec[k], spec[k + 15], spec[k + 16]
        if max(weight, bias) >= len(params) or (kind in (CONV, LINEAR)) != (weight >= 0):
            raise InputError(f"layer {k // FIELDS} refers to a parameter that is not there")
        inputs = spec[k + 1] * spec[k + 7] * spec[k + 8] if kind == CONV else spec[k + 1] * spec[k + 2] * spec[k + 3]
        if weight >= 0 and params[weight].numel() != members * inputs * spec[k + 4]:
            raise InputError(f"params[{weight}] does not fit layer {k // FIELDS}")
        if bias >= 0 and params[bias].numel() != members * spec[k + 4]:
            raise InputError(f"params[{bias}] does not fit layer {k // FIELDS}")
    if (labels is not None) != (mode == LabelMode.GIVEN):
        raise InputError(f"labels go with mode {LabelMode.GIVEN.value} (given labels), got mode {mode}")
    if labels is not None and (
        labels.dim() != 3 or labels.shape[::2] != (members, x.shape[0]) or labels.dtype != torch.int64
    ):
        raise InputError(f"labels must be int64 [E, S, N], got {labels.dtype} {list(labels.shape)}")


@torch.library.custom_op("grokfast::fisher_chain", mutates_args=())
def fisher_chain(x: Tensor, params: list[Tensor], spec: list[int], labels: Tensor | None, mode: int) -> list[Tensor]:
    """Fisher diagonal (sum over samples) of a chain of layers, for a stack of members.

    Args:
        x: Inputs ``[N, ...]`` shared by all members, float32 or float64.
        params: Parameters, each ``[E, ...]``.
        spec: 17 numbers a layer: kind (0 convolution, 1 ReLU, 2 max pooling, 3 linear); channels, height and
            width in; channels, height and width out; kernel, stride, padding, dilation (height, width each);
            index of weight and bias in ``params`` or -1.
        labels: For mode ``GIVEN``: int64 ``[E, S, N]``, in [0, C).
        mode: A :class:`LabelMode`.

    Returns:
        Sums of squares shaped like ``params``, and a status ``[E]``: 0, 1 (an activation is not finite), 3
        (logits too large for float32; call again in float64) or 4 (a convolution before a ReLU and a pooling may
        have overflowed; look at the activations, then call again in float64).

    Raises:
        InputError: If shapes, dtypes or devices do not match.

    Source:
        arXiv 2502.01739, eq. 14, for this architecture.
    """
    _check(x, params, spec, labels, mode)
    return fisher_chain_reference(x, params, spec, labels, mode)


@fisher_chain.register_kernel("cpu")
def fisher_chain_compiled(
    x: Tensor, params: list[Tensor], spec: list[int], labels: Tensor | None, mode: int
) -> list[Tensor]:
    """The compiled body of :func:`fisher_chain` on the CPU, without torch's dispatcher around it."""
    _check(x, params, spec, labels, mode)
    classes = spec[-FIELDS + 4] * spec[-FIELDS + 5] * spec[-FIELDS + 6]
    if labels is not None and labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(f"labels must lie in [0, {classes})")
    run = kernel("fisher_chain", x)
    if run is None:
        return fisher_chain_reference(x, params, spec, labels, mode)
    x, dense = x.contiguous(), [p.contiguous() for p in params]
    out = [torch.empty_like(p) for p in dense]
    status = torch.zeros(dense[0].shape[0], dtype=torch.int64)
    members = max(1, dense[0].shape[0])
    # One small array holds all the numbers that the kernel reads.
    numbers = array(
        "q", [p.data_ptr() for p in dense] + [p.numel() // members for p in dense] + [p.data_ptr() for p in out] + spec
    )
    start, step = numbers.buffer_info()[0], numbers.itemsize * len(dense)
    labels = None if labels is None else labels.contiguous()
    call(
        run, x, x, start, start + step, start + 2 * step, start + 3 * step, 0 if labels is None else labels,
        status, dense[0].shape[0], x.shape[0], len(spec) // FIELDS, len(dense),
        1 if labels is None else labels.shape[1], mode,
    )  # fmt: skip
    return [*out, status]


@fisher_chain.register_fake
def _fake(x: Tensor, params: list[Tensor], spec: list[int], labels: Tensor | None, mode: int) -> list[Tensor]:
    return [*(torch.empty_like(p) for p in params), x.new_empty(params[0].shape[0], dtype=torch.int64)]

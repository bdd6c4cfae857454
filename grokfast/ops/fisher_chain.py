"""The Fisher diagonal of a chain of convolutions, ReLUs, max poolings and linear layers, in one compiled pass."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from grokfast.errors import InputError
from grokfast.ops._arguments import check_floats, check_memory, check_range
from grokfast.ops._native import call, kernel
from grokfast.ops.chain_spec import CONV, FIELDS, LINEAR, MAXPOOL, RELU, Layer, check_chain
from grokfast.ops.fisher_two_layer import LabelMode, check_labels

__all__ = [
    "CONV",
    "FIELDS",
    "LINEAR",
    "MAXPOOL",
    "RELU",
    "fisher_chain",
    "fisher_chain_compiled",
    "fisher_chain_reference",
]

Saved = list[tuple[Tensor, Tensor | None]]


def _forward(x: Tensor, params: Sequence[Tensor], layers: Sequence[Layer]) -> tuple[Tensor, Saved]:
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


def _gradients(g: Tensor, saved: Saved, params: Sequence[Tensor], layers: Sequence[Layer]) -> list[Tensor]:
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
    layers = Layer.parse(spec)
    totals = [torch.zeros_like(p, dtype=torch.float64) for p in params]
    status = torch.zeros(members, dtype=torch.int64, device=x.device)
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
    if x.dim() < 2 or not params:
        raise InputError(
            f"fisher_chain expects x [N, ...] and parameters, got x {list(x.shape)} and {len(params)} parameters"
        )
    check_floats(x, **{f"params[{k}]": p for k, p in enumerate(params)})
    if any(p.dim() == 0 or p.shape[0] != params[0].shape[0] for p in params):
        raise InputError(f"params must share the leading axis E, got {[list(p.shape) for p in params]}")
    check_chain(tuple(spec), x.shape[1:].numel(), tuple(p.shape[1:].numel() for p in params))
    check_labels(x, params[0].shape[0], labels, mode)


def _classes(spec: Sequence[int]) -> int:
    return spec[-FIELDS + 4] * spec[-FIELDS + 5] * spec[-FIELDS + 6]


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
    if labels is not None:
        check_range("labels", labels, _classes(spec))
    return fisher_chain_reference(x, params, spec, labels, mode)


@fisher_chain.register_kernel(["cpu", "cuda"])
def fisher_chain_compiled(
    x: Tensor, params: list[Tensor], spec: list[int], labels: Tensor | None, mode: int
) -> list[Tensor]:
    """The compiled body of :func:`fisher_chain`, without torch's dispatcher around it."""
    _check(x, params, spec, labels, mode)
    check_memory((x, *params))
    if labels is not None:
        check_memory((labels,))
        check_range("labels", labels, _classes(spec))
    run = kernel("fisher_chain", x)
    if run is None:
        return fisher_chain_reference(x, params, spec, labels, mode)
    x, dense = x.contiguous(), [p.contiguous() for p in params]
    out = [torch.empty_like(p) for p in dense]
    status = x.new_zeros(dense[0].shape[0], dtype=torch.int64)
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
    _check(x, params, spec, labels, mode)
    return [*(torch.empty_like(p) for p in params), x.new_empty(params[0].shape[0], dtype=torch.int64)]

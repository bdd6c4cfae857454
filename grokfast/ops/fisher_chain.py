"""The Fisher diagonal of a chain of convolutions, ReLUs, max poolings and linear layers, in one compiled pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from grokfast.errors import InputError
from grokfast.ops._native import call, check_same, kernel
from grokfast.ops.fisher_two_layer import LabelMode

FIELDS = 17
CONV, RELU, MAXPOOL, LINEAR = range(4)


def _outputs(x: Tensor, params: Sequence[Tensor], spec: Sequence[int]) -> Tensor:
    """The chain itself, for one member."""
    for k in range(0, len(spec), FIELDS):
        kind, channels, height, width, *rest = spec[k : k + FIELDS]
        kernel_size, stride, padding, dilation = (rest[i : i + 2] for i in (3, 5, 7, 9))
        weight, bias = (params[i] if i >= 0 else None for i in rest[11:])
        if kind == CONV:
            assert weight is not None
            x = x.reshape(-1, channels, height, width)
            x = functional.conv2d(x, weight, bias, tuple(stride), tuple(padding), tuple(dilation))
        elif kind == RELU:
            x = x.relu()
        elif kind == MAXPOOL:
            x = functional.max_pool2d(x.reshape(-1, channels, height, width), tuple(kernel_size), tuple(stride))
        else:
            assert weight is not None
            x = functional.linear(x.flatten(1), weight, bias)
    return x.flatten(1)


def fisher_chain_reference(
    x: Tensor, params: list[Tensor], spec: list[int], labels: Tensor | None, mode: int
) -> list[Tensor]:
    """The readable twin of :func:`fisher_chain`: autograd on one sample at a time, in float64, over all labels."""
    members = params[0].shape[0]
    totals = [torch.zeros_like(p, dtype=torch.float64) for p in params]
    status = torch.zeros(members, dtype=torch.int64)
    for e in range(members):
        leaves = [p[e].detach().double().requires_grad_() for p in params]
        for n in range(x.shape[0]):
            with torch.enable_grad():
                f = _outputs(x[n : n + 1].detach().double(), leaves, spec)[0]
                if not bool(torch.isfinite(f).all()):
                    status[e] = 1
                    break
                logs = f.log_softmax(-1)
            if mode == LabelMode.GAUSSIAN:
                terms = [(1.0, value) for value in f]
            elif labels is None:
                terms = [(float(value.detach().exp()), value) for value in logs]
            else:
                terms = [(1.0, logs[int(label)]) for label in labels[e, :, n]]
            for weight, value in terms:
                for total, grad in zip(totals, torch.autograd.grad(value, leaves, retain_graph=True), strict=True):
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
        Sums of squares shaped like ``params``, and a status ``[E]``: 0, 1 (an activation is not finite) or 3
        (logits too large for float32; call again in float64).

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
    # One small tensor holds all the numbers that the kernel reads.
    numbers = torch.tensor(
        [p.data_ptr() for p in dense] + [p.numel() // members for p in dense] + [p.data_ptr() for p in out] + spec
    )
    start, step = numbers.data_ptr(), 8 * len(dense)
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

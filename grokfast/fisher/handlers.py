"""Which rule an operation's parameters go by, for every operation that the tracer knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from grokfast.errors import InputError
from grokfast.fisher.arguments import BatchNorm, Conv, ConvTranspose, Embedding, taking
from grokfast.fisher.rules import (
    AffineRule,
    ConvRule,
    ElementwiseRule,
    EmbeddingRule,
    LinearRule,
    MatmulRule,
)

if TYPE_CHECKING:
    from grokfast.fisher.tracing import Tracer


def _shapes(names: dict[str, str], **tensors: Tensor | None) -> dict[str, torch.Size]:
    return {role: tensors[role].shape for role in names}  # type: ignore[union-attr]


def _linear(
    tracer: Tracer,
    func: Any,
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    names = tracer.roles(weight=weight, bias=bias)
    out: Tensor = func(input, tracer.hide(weight) if names else weight, tracer.hide(bias) if names else bias)
    if not names or weight.dim() != 2 or id(input) in tracer.names:
        return out if not names else func(input, weight, bias)
    return tracer.record(LinearRule(**_shapes(names, weight=weight, bias=bias)), names, input, out)


def _pair(value: Any, spatial: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list | torch.Size) else (value,)
    return tuple(int(v) for v in (values * spatial if len(values) == 1 else values))


@taking(Conv)
def _conv(tracer: Tracer, func: Any, of: Conv) -> Tensor:
    names = tracer.roles(weight=of.weight, bias=of.bias)
    spatial = of.weight.dim() - 2
    if not names or id(of.input) in tracer.names or of.input.dim() != spatial + 2:
        return func(*of)  # type: ignore[no-any-return]
    steps, spread = _pair(of.stride, spatial), _pair(of.dilation, spatial)
    if isinstance(of.padding, str):
        total = [d * (k - 1) if of.padding == "same" else 0 for d, k in zip(spread, of.weight.shape[2:], strict=True)]
        sides = tuple((t // 2, t - t // 2) for t in total)
    else:
        sides = tuple((p, p) for p in _pair(of.padding, spatial))
    rule = ConvRule(steps, sides, spread, of.groups, False, **_shapes(names, weight=of.weight, bias=of.bias))
    return tracer.record(rule, names, of.input, func(*_hidden(tracer, of)))


@taking(ConvTranspose)
def _conv_transpose(tracer: Tracer, func: Any, of: ConvTranspose) -> Tensor:
    names = tracer.roles(weight=of.weight, bias=of.bias)
    spatial = of.weight.dim() - 2
    if not names or id(of.input) in tracer.names or of.input.dim() != spatial + 2:
        return func(*of)  # type: ignore[no-any-return]
    sides = tuple((p, p) for p in _pair(of.padding, spatial))
    rule = ConvRule(
        _pair(of.stride, spatial), sides, _pair(of.dilation, spatial), of.groups, True,
        **_shapes(names, weight=of.weight, bias=of.bias),
    )  # fmt: skip
    return tracer.record(rule, names, of.input, func(*_hidden(tracer, of)))


def _hidden(tracer: Tracer, of: Conv | ConvTranspose) -> tuple[Any, ...]:
    return of._replace(weight=tracer.hide(of.weight), bias=tracer.hide(of.bias))  # type: ignore[arg-type]


@taking(Embedding)
def _embedding(tracer: Tracer, func: Any, of: Embedding) -> Tensor:
    names = tracer.roles(weight=of.weight)
    if of.max_norm is not None:
        raise InputError("an embedding with max_norm rewrites its weights when it runs; set max_norm=None")
    if names and of.scale_grad_by_freq:
        raise InputError(
            f"{names['weight']}: scale_grad_by_freq divides gradients by counts over the batch, which has no "
            "meaning for one sample; set it to False"
        )
    if not names:
        return func(*of)  # type: ignore[no-any-return]
    padding = of.padding_idx
    out = func(of.input, tracer.hide(of.weight), padding)
    if padding is not None and padding < 0:
        padding += of.weight.shape[0]
    return tracer.record(EmbeddingRule(padding, weight=of.weight.shape), names, of.input, out)


def _affine(
    tracer: Tracer,
    what: str,
    channels_first: bool,
    normalise: Callable[[], Tensor],
    plain: Callable[[], Tensor],
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    names = tracer.roles(weight=weight, bias=bias)
    if not names or id(x) in tracer.names:
        return plain()
    xhat = normalise()
    w, b = tracer.hide(weight), tracer.hide(bias)
    if channels_first:
        shape = (1, -1) + (1,) * (x.dim() - 2)
        w, b = (None if t is None else t.reshape(shape) for t in (w, b))
    out = xhat if w is None else xhat * w
    out = out.clone() if w is None and b is None else out if b is None else out + b
    rule = AffineRule(what, channels_first, **_shapes(names, weight=weight, bias=bias))
    return tracer.record(rule, names, xhat, out)


def _layer_norm(
    tracer: Tracer, func: Any, input: Tensor, normalized_shape: Any,  # noqa: A002
    weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    return _affine(
        tracer, "layer norm", False,
        lambda: func(input, normalized_shape, None, None, eps),
        lambda: func(input, normalized_shape, weight, bias, eps),
        input, weight, bias,
    )  # fmt: skip


def _rms_norm(
    tracer: Tracer, func: Any, input: Tensor, normalized_shape: Any,  # noqa: A002
    weight: Tensor | None = None, eps: float | None = None,
) -> Tensor:  # fmt: skip
    return _affine(
        tracer, "RMS norm", False,
        lambda: func(input, normalized_shape, None, eps),
        lambda: func(input, normalized_shape, weight, eps),
        input, weight, None,
    )  # fmt: skip


def _group_norm(
    tracer: Tracer, func: Any, input: Tensor, num_groups: int,  # noqa: A002
    weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    return _affine(
        tracer, "group norm", True,
        lambda: func(input, num_groups, None, None, eps),
        lambda: func(input, num_groups, weight, bias, eps),
        input, weight, bias,
    )  # fmt: skip


@taking(BatchNorm)
def _batch_norm(tracer: Tracer, func: Any, of: BatchNorm) -> Tensor:
    if of.training:
        raise InputError(
            "batch normalisation with batch statistics couples the samples, so a per-sample gradient has no meaning; "
            "call model.eval() (and give the layer running statistics)"
        )
    return _affine(
        tracer, "batch norm", True, lambda: func(*of._replace(weight=None, bias=None)), lambda: func(*of),
        of.input, of.weight, of.bias,
    )  # fmt: skip


def _dropout(
    tracer: Tracer,
    func: Any,
    input: Tensor,  # noqa: A002
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Any:
    if training and p > 0:
        raise InputError("dropout in training mode gives the Fisher diagonal of one random mask; call model.eval()")
    return func(input, p, training, inplace)


def _elementwise(product: bool) -> Callable[..., Any]:
    def handle(tracer: Tracer, func: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) != 2 or kwargs or not all(isinstance(a, Tensor) for a in args):
            return func(*args, **kwargs)
        mine = [bool(tracer.roles(value=a)) for a in args]
        if mine.count(True) != 1:
            return func(*args)
        value, other = args if mine[0] else args[::-1]
        out = func(tracer.hide(args[0]), tracer.hide(args[1]))
        # The samples must come from the other operand, and the parameter must not have an axis of their size.
        if other.dim() < value.dim() or other.dim() == 0 or (other.dim() == value.dim() and value.shape[0] != 1):
            return func(*args)
        names = tracer.roles(value=value)
        return tracer.record(ElementwiseRule(product, value=value.shape), names, other, out)

    return handle


def _matmul(tracer: Tracer, func: Any, input: Tensor, other: Tensor) -> Any:  # noqa: A002
    names = tracer.roles(weight=other)
    if not names or other.dim() != 2 or input.dim() < 2 or id(input) in tracer.names:
        return func(input, other)
    return tracer.record(MatmulRule(weight=other.shape), names, input, func(input, tracer.hide(other)))


HANDLERS: dict[Any, Callable[..., Any]] = {
    functional.linear: _linear,
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _conv),
    **dict.fromkeys((torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), _conv_transpose),
    functional.embedding: _embedding,
    functional.layer_norm: _layer_norm,
    functional.rms_norm: _rms_norm,
    functional.group_norm: _group_norm,
    functional.batch_norm: _batch_norm,
    **dict.fromkeys(
        (
            functional.dropout,
            functional.dropout1d,
            functional.dropout2d,
            functional.dropout3d,
            functional.alpha_dropout,
            functional.feature_alpha_dropout,
        ),
        _dropout,
    ),
    **dict.fromkeys((torch.add, Tensor.add), _elementwise(False)),
    **dict.fromkeys((torch.mul, Tensor.mul), _elementwise(True)),
    **dict.fromkeys((torch.matmul, Tensor.matmul), _matmul),
}

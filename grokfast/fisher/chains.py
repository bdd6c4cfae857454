"""Recognising a model that is one chain of layers, from what it does rather than from how it is written.

Every torch operation of a run on two samples is recorded. The model is a chain if each operation is a known
layer applied to the previous one's result, so a custom ``forward`` counts as much as ``nn.Sequential``.
Anything else, even reading a value of a tensor, breaks the chain, and the model goes the general way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from grokfast.errors import InputError
from grokfast.fisher.fallback import run_model
from grokfast.fisher.job import Job


@dataclass(frozen=True)
class Link:
    """One layer of a chain.

    Attributes:
        what: ``linear``, ``conv``, ``relu``, ``maxpool`` or ``flatten``.
        weight: Name of the weight, or "".
        bias: Name of the bias, or "".
        kernel: Kernel size (height, width).
        stride: Stride (height, width).
        padding: Zeros before and after, (height, width).
        dilation: Dilation (height, width).
        out: Shape of one sample's output.
    """

    what: str
    out: tuple[int, ...]
    weight: str = ""
    bias: str = ""
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)


class _BrokenError(Exception):
    """The model is not a chain."""


def _two(value: Any) -> tuple[int, int]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return (int(values[0]), int(values[-1]))


class _Recorder(TorchFunctionMode):
    def __init__(self, names: Mapping[int, str], current: Tensor) -> None:
        super().__init__()
        self.names, self.current, self.n = names, current, current.shape[0]
        self.links: list[Link] = []
        self.used: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = _LINKS.get(func)
        if handler is None or not args or args[0] is not self.current:
            raise _BrokenError
        kwargs = kwargs or {}
        out, link = handler(self, func, *args, **kwargs)
        if out.shape[0] != self.n:
            raise _BrokenError
        self.links.append(link(tuple(out.shape[1:])))
        self.current = out
        return out

    def parameter(self, tensor: Tensor | None) -> str:
        if tensor is None:
            return ""
        name = self.names.get(id(tensor))
        if name is None or name in self.used:
            raise _BrokenError
        self.used.append(name)
        return name


def _linear(r: _Recorder, func: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    if x.dim() != 2:
        raise _BrokenError
    mine, shift = r.parameter(weight), r.parameter(bias)
    return func(x, weight, bias), lambda out: Link("linear", out, mine, shift)


def _conv(
    r: _Recorder, func: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    if x.dim() != 4 or groups != 1 or isinstance(padding, str):
        raise _BrokenError
    mine, shift = r.parameter(weight), r.parameter(bias)
    out = func(x, weight, bias, stride, padding, dilation, groups)
    return out, lambda shape: Link(
        "conv", shape, mine, shift, kernel=(weight.shape[2], weight.shape[3]), stride=_two(stride),
        padding=_two(padding),
        dilation=_two(dilation),
    )  # fmt: skip


def _relu(r: _Recorder, func: Any, x: Tensor, inplace: bool = False) -> Any:
    return func(x), lambda out: Link("relu", out)


def _max_pool(
    r: _Recorder, func: Any, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any
        = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    if ceil_mode or return_indices or x.dim() != 4 or _two(padding) != (0, 0) or _two(dilation) != (1, 1):
        raise _BrokenError
    out = func(x, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode, return_indices=return_indices)
    steps = _two(kernel_size) if stride is None or stride == [] else _two(stride)
    return out, lambda shape: Link("maxpool", shape, kernel=_two(kernel_size), stride=steps)


def _flatten(r: _Recorder, func: Any, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Any:
    if start_dim != 1 or end_dim not in (-1, x.dim() - 1):
        raise _BrokenError
    return func(x, start_dim, end_dim), lambda out: Link("flatten", out)


def _dropout(r: _Recorder, func: Any, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if training and p > 0:
        raise _BrokenError
    return func(x, p, training, inplace), lambda out: Link("flatten", out)


_LINKS: dict[Any, Any] = {
    functional.linear: _linear,
    torch.conv2d: _conv,
    **dict.fromkeys((functional.relu, torch.relu, Tensor.relu), _relu),
    # Called by functional.max_pool2d: the public name is a dispatcher without a signature of its own.
    functional.max_pool2d: _max_pool,
    **dict.fromkeys((torch.flatten, Tensor.flatten), _flatten),
    functional.dropout: _dropout,
}


def chain_of(
    job: Job, state: Mapping[str, Tensor] | None, leaves: Mapping[str, Tensor], args: tuple[Tensor, ...]
) -> list[Link] | None:
    """The layers of the model in order, or None if it is not a chain of known layers in its trainable parameters."""
    if len(args) != 1 or args[0].dim() < 2 or args[0].dtype != job.dtype or _hooked(job):
        return None
    recorder = _Recorder({id(leaf): name for name, leaf in leaves.items()}, args[0])
    try:
        with torch.no_grad(), recorder:
            out = run_model(job.model, state, args)
    except _BrokenError:
        return None
    except InputError:
        raise
    if out is not recorder.current or set(recorder.used) != set(leaves):
        return None
    if any(p.numel() == 0 for p in leaves.values()):
        return None
    return recorder.links


def _hooked(job: Job) -> bool:
    """Whether hooks could do what no operation shows."""
    return any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in job.model.modules()
    )

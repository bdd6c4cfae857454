"""Recognising a model that is one chain of layers, from what it does rather than from how it is written.

Every torch operation of a run on two samples is recorded. The model is a chain if each operation is a known
layer applied to the previous one's result, so a custom ``forward`` counts as much as ``nn.Sequential``.
Anything else, even reading a value of a tensor, breaks the chain, and the model goes the general way. As no
value can be seen, none is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from grokfast.fisher.batches import Inputs
from grokfast.fisher.job import Job, State
from grokfast.fisher.randomness import States


class Link(NamedTuple):
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
    """Notes the layers of a run and computes nothing: every layer returns an empty tensor of the right shape."""

    def __init__(self, names: Mapping[int, str], current: Tensor) -> None:
        super().__init__()
        self.names, self.current = names, current
        self.links: list[Link] = []
        self.used: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = _LINKS.get(func)
        x = self.current
        if handler is None or not args or args[0] is not x or torch.is_autocast_enabled(x.device.type):
            raise _BrokenError
        link = handler(self, tuple(x.shape[1:]), *args[1:], **(kwargs or {}))
        self.links.append(link)
        self.current = x.new_empty(x.shape[0], *link.out)
        return self.current

    def parameter(self, tensor: Tensor | None, shape: tuple[int, ...]) -> str:
        """The name of a trainable parameter of this shape."""
        if tensor is None:
            return ""
        name = self.names.get(id(tensor))
        if name is None or name in self.used or tuple(tensor.shape) != shape:
            raise _BrokenError
        self.used.append(name)
        return name


def _linear(r: _Recorder, shape: tuple[int, ...], weight: Tensor, bias: Tensor | None = None) -> Link:
    if len(shape) != 1 or weight.dim() != 2:
        raise _BrokenError
    out = weight.shape[0]
    return Link("linear", (out,), r.parameter(weight, (out, *shape)), r.parameter(bias, (out,)))


def _conv(
    r: _Recorder, shape: tuple[int, ...], weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Link:  # fmt: skip
    if len(shape) != 3 or weight.dim() != 4 or groups != 1 or isinstance(padding, str):
        raise _BrokenError
    out, _, *kernel = weight.shape
    mine, shift = r.parameter(weight, (out, shape[0], *kernel)), r.parameter(bias, (out,))
    return _window(Link(
        "conv", (out, *shape[1:]), mine, shift, kernel=_two(kernel), stride=_two(stride), padding=_two(padding),
        dilation=_two(dilation),
    ))  # fmt: skip


def _relu(r: _Recorder, shape: tuple[int, ...], inplace: bool = False) -> Link:
    return Link("relu", shape)


def _max_pool(
    r: _Recorder, shape: tuple[int, ...], kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Link:  # fmt: skip
    if ceil_mode or return_indices or len(shape) != 3 or _two(padding) != (0, 0) or _two(dilation) != (1, 1):
        raise _BrokenError
    steps = _two(kernel_size) if stride is None or stride == [] else _two(stride)
    return _window(Link("maxpool", shape, kernel=_two(kernel_size), stride=steps))


def _window(link: Link) -> Link:
    """The same layer with what a moving window leaves of its image, ``link.out`` so far."""
    out = list(link.out)
    numbers = zip(link.kernel, link.stride, link.padding, link.dilation, strict=True)
    for axis, (size, step, pad, spread) in enumerate(numbers, start=1):
        free = out[axis] + 2 * pad - spread * (size - 1) - 1
        if min(size, step, spread) < 1 or pad < 0 or free < 0:
            raise _BrokenError
        out[axis] = free // step + 1
    return link._replace(out=tuple(out))


def _flatten(r: _Recorder, shape: tuple[int, ...], start_dim: int = 0, end_dim: int = -1) -> Link:
    if start_dim != 1 or end_dim not in (-1, len(shape)):
        raise _BrokenError
    return Link("flatten", (torch.Size(shape).numel(),))


def _dropout(
    r: _Recorder, shape: tuple[int, ...], p: float = 0.5, training: bool = True, inplace: bool = False
) -> Link:
    if training and p > 0:
        raise _BrokenError
    return Link("flatten", shape)


_LINKS: dict[Any, Any] = {
    functional.linear: _linear,
    torch.conv2d: _conv,
    **dict.fromkeys((functional.relu, torch.relu, Tensor.relu), _relu),
    # Called by functional.max_pool2d: the public name is a dispatcher without a signature of its own.
    functional.max_pool2d: _max_pool,
    **dict.fromkeys((torch.flatten, Tensor.flatten), _flatten),
    functional.dropout: _dropout,
}


# Modules whose forward only reads: they need no private copy to be looked at.
_READ_ONLY = frozenset({
    nn.Sequential, nn.Linear, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity,
})  # fmt: skip


def chain_of(job: Job, state: State, inputs: Inputs) -> list[Link] | None:
    """The layers of the model in order, or None if it is not a chain of known layers in its trainable parameters."""
    x = inputs.tensors[0]
    if inputs.names != ("",) or x.dim() < 2 or x.dtype != job.dtype or _hooked(job):
        return None
    if job.outputs.pick is not None or job.outputs.class_axis is not None:
        return None
    if state is None and all(type(m) in _READ_ONLY and "forward" not in m.__dict__ for m in job.model.modules()):
        own = dict(job.model.named_parameters())
        model = job.model
        leaves: dict[str, Tensor] = {name: own[name] for name in job.names}
        before: States | None = None
    else:
        world = job.world(state)
        model, before = world.model, States()
        leaves = world.leaves
    if any(p.numel() == 0 for p in leaves.values()):
        return None
    recorder = _Recorder({id(leaf): name for name, leaf in leaves.items()}, x)
    try:
        with torch.enable_grad(), torch.autocast(x.device.type, enabled=False), recorder:
            out = inputs.call(model)
    except _BrokenError:
        return None
    finally:
        if before is not None and not before.same_elsewhere(States()):
            before.put_back_elsewhere()
    if out is not recorder.current or set(recorder.used) != set(leaves):
        return None
    return recorder.links


def _hooked(job: Job) -> bool:
    """Whether hooks could do what no operation shows."""
    return any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in job.model.modules()
    ) or any(p._backward_hooks for p in job.model.parameters())

"""The kernel calls of a recorded pass, and the memory that they write into."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

_aten = torch.ops.aten


class Call(NamedTuple):
    """One kernel call.

    Attributes:
        function: The kernel.
        args: Tensors and numbers; a node stands for a value that is known only when the calls run.
        kwargs: Likewise.
        waits: Whether a node is among them.
        gives: The node whose value the call returns; None if it writes to fixed memory.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    waits: bool
    gives: fx.Node | None


ZEROS_AROUND: dict[Any, Callable[..., Tensor]] = {
    _aten.select_backward.default: _aten.select.int,
    _aten.slice_backward.default: _aten.slice.Tensor,
}
"""Gradients of a part, which are zero elsewhere; and how the part is seen."""


def call_of(node: fx.Node, known: Mapping[fx.Node, Any], buffer: Tensor | None) -> Call:
    """The call that gives a node's value, into its buffer where it has one, which is then ``known``."""
    kernel = _kernel(node)
    waits = any(source not in known for source in node.all_input_nodes)
    args, kwargs = filled(node.args, known), filled(node.kwargs, known)
    if kernel is None or buffer is None:
        return Call(node.target, args, kwargs, waits, node)  # type: ignore[arg-type]
    known[node] = buffer  # type: ignore[index]
    function, out = kernel
    if function is _aten.copy_.default:
        return Call(function, (_part(node, buffer), args[0]), {}, waits, None)
    return Call(function, args, {**kwargs, out: buffer}, waits, None)


def filled(value: Any, known: Mapping[fx.Node, Any]) -> Any:
    """Arguments with the values of the nodes that are known in their places."""
    return fx.map_arg(value, lambda node: known.get(node, node))


def is_view(function: Any) -> bool:
    """Whether a call gives another view of its argument's memory."""
    if function is _aten._unsafe_view.default:
        return True
    if not isinstance(function, OpOverload):
        return False
    returns = function._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def view_of(node: fx.Node) -> Callable[..., Any]:
    """The operation that a node which is a view calls."""
    return _aten.view.default if node.target is _aten._unsafe_view.default else node.target  # type: ignore


def _kernel(node: fx.Node) -> tuple[Callable[..., Any], str] | None:
    """The kernel that writes a node's value to memory it is given, and the name of that argument ("" for a copy)."""
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, Tensor) or is_view(node.target):
        return None
    if node.target is _aten.clone.default or node.target in ZEROS_AROUND:
        return _aten.copy_.default, ""
    return _writing(node.target) if isinstance(node.target, OpOverload) else None


def _part(node: fx.Node, buffer: Tensor) -> Tensor:
    """Where a copy goes: of a buffer that is zero around it, the part that is seen."""
    seen = ZEROS_AROUND.get(node.target)
    return buffer if seen is None else seen(buffer, *node.args[2:])


@functools.cache
def _writing(operation: OpOverload) -> tuple[OpOverload, str] | None:
    """The overload of an operation that writes its one result, if it is a kernel and not a copy in disguise."""
    wanted = [(argument.name, str(argument.type)) for argument in operation._schema.arguments]
    packet = operation.overloadpacket
    for name in packet.overloads():
        candidate = getattr(packet, name)
        outs = [a.name for a in candidate._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        rest = [(a.name, str(a.type)) for a in candidate._schema.arguments if a.name not in outs]
        fits = len(outs) == 1 and candidate._schema.arguments[-1].name == outs[0] and rest == wanted
        if fits and torch._C._dispatch_has_kernel_for_dispatch_key(candidate.name(), "CPU"):
            return candidate, outs[0]
    return None


def memory_of(nodes: Sequence[fx.Node], device: torch.device) -> dict[fx.Node, Tensor]:
    """For each kernel memory for its result, which later results take over when nobody reads it any more."""
    origin: dict[fx.Node, fx.Node] = {}
    last: dict[fx.Node, int] = {}
    for step, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last[origin[source]] = step
        origin[node] = origin[node.all_input_nodes[0]] if is_view(node.target) else node
    over: dict[int, list[fx.Node]] = defaultdict(list)
    for node, step in last.items():
        over[step].append(node)
    free: dict[tuple[int, torch.dtype], list[Tensor]] = defaultdict(list)
    buffers: dict[fx.Node, Tensor] = {}
    for step, node in enumerate(nodes):
        if _kernel(node):
            value = node.meta["val"]
            spare = free[value.numel(), value.dtype]
            reused = bool(spare) and is_dense(value) and node.target not in ZEROS_AROUND
            buffers[node] = (
                spare.pop().as_strided(value.shape, value.stride()) if reused else memory_like(value, device)
            )
        for done in over[step]:
            if done in buffers and done.target not in ZEROS_AROUND and is_dense(buffers[done]):
                free[buffers[done].numel(), buffers[done].dtype].append(buffers[done])
    return buffers


def memory_like(value: Tensor, device: torch.device) -> Tensor:
    """Zeros of a tensor's shape and strides."""
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device).zero_()


def is_dense(tensor: Tensor) -> bool:
    """Whether its entries fill one piece of memory."""
    filled = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != filled:
            return False
        filled *= size
    return True

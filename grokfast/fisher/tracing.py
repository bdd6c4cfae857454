"""What a model does with its parameters: every use of one in a known operation, with its input and output.

A traced operation is run on a detached alias of the parameter, so whatever path still leads from the outputs
to the parameter itself is a use that was not understood. That makes the bookkeeping complete: see
:func:`reached`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from grokfast.fisher.handlers import HANDLERS
from grokfast.fisher.rules import Rule


class _Attach(torch.autograd.Function):
    """Puts a tensor into the graph in place, without a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None]:
        return None, None


@dataclass
class Use:
    """One use of one or two parameters."""

    rule: Rule
    names: dict[str, str]  # role -> parameter
    x: Tensor
    version: int
    edge: GradientEdge
    shape: tuple[int, ...]

    @property
    def intact(self) -> bool:
        """Whether the input still holds what the layer saw."""
        return self.x._version == self.version

    @property
    def signature(self) -> tuple[Any, ...]:
        """What must not change from block to block for a plan to hold."""
        return _signature(self.rule, self.names, len(self.shape))


def _signature(rule: Rule, names: dict[str, str], axes: int) -> tuple[Any, ...]:
    return type(rule), tuple(sorted(names.items())), axes


class Tracer(TorchFunctionMode):
    """Records uses of the given parameters while a model runs.

    Args:
        names: Parameter name by ``id`` of the tensor that the model will see.
    """

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names = names
        self.uses: list[Use] = []
        self.finite: list[tuple[str, Tensor]] = []
        self._anchor = torch.zeros((), requires_grad=True)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation, by a handler if there is one."""
        kwargs = kwargs or {}
        handler = HANDLERS.get(func)
        if handler is None:
            return func(*args, **kwargs)
        return handler(self, func, *args, **kwargs)

    def roles(self, **tensors: Tensor | None) -> dict[str, str]:
        """Which of these tensors are parameters of interest."""
        if not torch.is_grad_enabled():
            return {}
        return {
            role: self.names[id(tensor)]
            for role, tensor in tensors.items()
            if tensor is not None and id(tensor) in self.names
        }

    def hide(self, tensor: Tensor | None) -> Tensor | None:
        """A detached alias of a parameter of interest, anything else as it is."""
        return tensor.detach() if tensor is not None and id(tensor) in self.names else tensor

    def record(self, rule: Rule, names: dict[str, str], x: Tensor, out: Tensor) -> Tensor:
        """Note a use and return its output, with a place in the graph."""
        if not out.requires_grad:
            out = out.clone() if out._is_view() else out
            attached: Tensor = _Attach.apply(out, self._anchor)  # type: ignore[no-untyped-call]
            out = attached
        self.uses.append(Use(rule, names, x.detach(), x._version, get_gradient_edge(out), tuple(out.shape)))
        if out.numel():
            self.finite.append((next(iter(names.values())), out.detach().sum()))
        return out


class Reader(Tracer):
    """Notes only what the layers see: for every use its signature and its input, rounded to ``dtype``.

    Args:
        names: As for :class:`Tracer`.
        dtype: Of the inputs that are kept.
    """

    def __init__(self, names: dict[int, str], dtype: torch.dtype) -> None:
        super().__init__(names)
        self._dtype = dtype
        self.seen: list[tuple[tuple[Any, ...], Tensor]] = []

    def record(self, rule: Rule, names: dict[str, str], x: Tensor, out: Tensor) -> Tensor:
        """Note a use and return its output as it is."""
        x = x.detach().to(self._dtype) if x.is_floating_point() else x
        self.seen.append((_signature(rule, names, out.dim()), x))
        return out


def reached(outputs: Tensor) -> set[int]:
    """The ``id`` of every leaf tensor that the graph of ``outputs`` still leads to."""
    found: set[int] = set()
    seen: set[Any] = set()
    stack = [outputs.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.add(id(variable))
        stack.extend(following for following, _ in node.next_functions)
    return found

"""What a model does with its parameters: every use of one in a known operation, with its input and output.

A traced operation is run on a detached alias of the parameter, so whatever path still leads from the outputs
to the parameter itself is a use that was not understood. That makes the bookkeeping complete: see
:class:`grokfast.fisher.flow.Flow`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from grokfast.fisher.arguments import Attention, Embedding, taking
from grokfast.fisher.composites import COMPOSITES, separate
from grokfast.fisher.handlers import HANDLERS
from grokfast.fisher.reads import harmless
from grokfast.fisher.rules import LinearRule, Rule


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
        """What a use is, apart from the numbers: a rule that has proven right for it is right for its like."""
        return _signature(self.rule, self.names, len(self.shape))


def _signature(rule: Rule, names: dict[str, str], axes: int) -> tuple[Any, ...]:
    return type(rule), rule.settings, tuple(sorted(names.items())), axes


class Tracer(TorchFunctionMode):
    """Records uses of the given parameters while a model runs.

    Args:
        names: Parameter name by ``id`` of the tensor that the model will see.
    """

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names = names
        self.uses: list[Use] = []
        self.finite: list[Tensor] = []
        self.reads = False
        self._anchor = torch.zeros((), requires_grad=True)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation, by a handler if there is one."""
        out = self._run(func, args, kwargs or {})
        self.reads = self.reads or not harmless(func, args, out)
        return out

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        composite = COMPOSITES.get(func)
        if composite is not None:
            reads = self.reads
            with self:  # its parts are traced
                out = composite(self.recurrent, func, *args, **kwargs)
            if separate(func, args):  # which look at initial states alone
                self.reads = reads
            return out
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
            out = self._attached(out)
        self._note(rule, names, x, out)
        if out.numel():
            self.finite.append(out.detach().sum())
        return out

    def recurrent(
        self, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...], like: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Callable[[Tensor], None]]:
        """One use of the weights of a recurrent layer at all its steps.

        Returns:
            The weight and bias to compute with; zeros of ``shape`` to add to the products, whose gradient is that
            at the products; and what takes the layer's inputs of all steps, of that shape but for the last axis.
        """
        names = self.roles(weight=weight, bias=bias)
        if not names:
            return weight, bias, None, lambda x: None
        out = self._attached(like.new_zeros(shape))
        hidden = self.hide(weight)
        assert hidden is not None
        rule = LinearRule(
            **{role: t.shape for role, t in (("weight", weight), ("bias", bias)) if role in names and t is not None}
        )
        return hidden, self.hide(bias), out, lambda x: self._note(rule, names, x, out)

    def _attached(self, out: Tensor) -> Tensor:
        attached: Tensor = _Attach.apply(out, self._anchor)  # type: ignore[no-untyped-call]
        return attached

    def _note(self, rule: Rule, names: dict[str, str], x: Tensor, out: Tensor) -> None:
        self.uses.append(Use(rule, names, x.detach(), x._version, get_gradient_edge(out), tuple(out.shape)))


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
        self._note(rule, names, x, out)
        return out

    def _note(self, rule: Rule, names: dict[str, str], x: Tensor, out: Tensor) -> None:
        x = x.detach()
        x = x.to(self._dtype) if x.is_floating_point() else x
        self.seen.append((_signature(rule, names, out.dim()), x))


class Plain(TorchFunctionMode):
    """Runs a model as it is written: torch's fused inference paths see a mode and stay off, in this thread alone.

    Args:
        simple: Replace what ``torch.func`` cannot differentiate twice or forward by its parts: recurrent layers,
            bags of embeddings, sparse gradients, fused attention.
    """

    def __init__(self, simple: bool = False) -> None:
        super().__init__()
        self._simple = simple

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation."""
        kwargs = kwargs or {}
        composite = COMPOSITES.get(func) if self._simple else None
        if composite is None:
            composite = SIMPLE.get(func) if self._simple else None
        if composite is None:
            return func(*args, **kwargs)
        with self:
            return composite(_as_it_is, func, *args, **kwargs)


def _as_it_is(
    weight: Tensor, bias: Tensor | None, shape: tuple[int, ...], like: Tensor
) -> tuple[Tensor, Tensor | None, Tensor | None, Callable[[Tensor], None]]:
    return weight, bias, None, lambda x: None


@taking(Attention)
def _attention(_: Any, func: Any, of: Attention) -> Any:
    mask = of.attn_mask
    if mask is not None and mask.dtype == torch.bool:  # which the operation below would add as 0 and 1
        mask = torch.zeros_like(mask, dtype=of.query.dtype).masked_fill(mask.logical_not(), -torch.inf)
    with torch._C.DisableTorchFunctionSubclass():
        return torch.ops.aten._scaled_dot_product_attention_math(
            of.query, of.key, of.value, mask, of.dropout_p, of.is_causal, scale=of.scale, enable_gqa=of.enable_gqa
        )[0]


@taking(Embedding)
def _dense_embedding(_: Any, func: Any, of: Embedding) -> Any:
    padding = -1 if of.padding_idx is None else of.padding_idx % of.weight.shape[0]
    return torch.embedding(of.weight, of.input, padding)


def _multi_head(_: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
    """With its weights written out, which takes no fused kernel."""
    wanted = kwargs.get("need_weights", True)
    with torch._C.DisableTorchFunction():
        out, weights = func(*args, **{**kwargs, "need_weights": True})
    return out, weights if wanted else None


SIMPLE: dict[Any, Callable[..., Any]] = {
    torch.nn.functional.scaled_dot_product_attention: _attention,
    torch.nn.functional.embedding: _dense_embedding,
    torch.nn.functional.multi_head_attention_forward: _multi_head,
}

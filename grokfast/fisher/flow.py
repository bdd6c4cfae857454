"""Proof from the autograd graph that a row of a layer's output reaches the outputs of its own sample only.

The samples of the outputs lie on their leading axis, so in row-major order the numbers of one sample follow each
other. An operation keeps this if it is one of those below, used in such a way that it moves nothing between
samples. What all paths from the outputs lead to through such operations is proven, for the very block whose graph
it is, whatever the values. Everything else is left to be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Shape = tuple[int, ...]
# node, which of its inputs, shape of its output, shape of that input, number of samples -> whether samples stay
_Keeps = Callable[[Any, int, Shape, Shape, int], bool]


def _led(shape: Shape, n: int) -> bool:
    """Whether the leading axis holds whole samples, one after the other."""
    return len(shape) > 0 and shape[0] > 0 and shape[0] % n == 0


def _saved(node: Any, name: str, axes: int) -> set[int]:
    """Axes that an operation keeps under this name, counted from 0."""
    value = getattr(node, f"_saved_{name}")
    values = value if isinstance(value, tuple | list) else (value,)
    return {(v - (1 << 64) if v >= 1 << 63 else v) % axes for v in values}


def _elementwise(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
    return out == into or (len(out) == len(into) and out[0] == into[0] and _led(out, n))


def _same_order(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
    return True


def _rows(which: int) -> _Keeps:
    """One input goes row by row (the others are weights)."""

    def keeps(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
        return i == which and _led(out, n) and len(into) > 0 and out[0] == into[0]

    return keeps


def _first_of(inputs: int) -> _Keeps:
    """The first so many inputs share the leading axis of the output."""

    def keeps(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
        return i < inputs and _led(out, n) and len(into) == len(out) and out[0] == into[0]

    return keeps


def _along(*names: str) -> _Keeps:
    """Works along axes that do not include the leading one."""

    def keeps(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
        axes = [_saved(node, name, len(into)) for name in names]
        return _led(into, n) and all(found and 0 not in found for found in axes)

    return keeps


def _permute(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
    return _led(into, n) and node._saved_dims[0] % len(into) == 0


def _stack(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
    return _led(into, n) and 0 not in _saved(node, "dim", len(out))


def _layer_norm(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
    return i == 0 and _led(into, n) and len(node._saved_normalized_shape) < len(into)


def _batch_norm(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
    return i == 0 and _led(into, n) and not node._saved_training


def _pad(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
    return _led(into, n) and len(node._saved_pad) // 2 < len(into)


def _elementwise_first(node: Any, i: int, out: Shape, into: Shape, n: int) -> bool:
    return i == 0 and out == into


_KEEPS: dict[str, _Keeps] = {
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Neg", "Exp", "Log", "Pow", "Sqrt", "Rsqrt", "Abs", "Relu", "Gelu", "Tanh",
         "Sigmoid", "Silu", "Elu", "LeakyRelu", "Hardtanh", "HardtanhBackward", "Softplus", "Mish", "LogSigmoid", "Sin",
         "Cos", "Erf", "Reciprocal", "Clamp", "ClampMin", "ClampMax", "Hardswish", "Hardsigmoid", "Square", "Rsub",
         "Maximum", "Minimum", "Where", "Expand", "ToCopy", "NanToNum"),
        _elementwise,
    ),
    **dict.fromkeys(("MaskedFill", "PreluKernel"), _elementwise_first),
    **dict.fromkeys(("View", "UnsafeView", "ReshapeAlias", "Unsqueeze", "Squeeze", "Clone", "Alias"), _same_order),
    "Addmm": _rows(1),
    "Mm": _rows(0),
    **dict.fromkeys(
        ("Convolution", "MaxPool2DWithIndices", "MaxPool3DWithIndices", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D",
         "AdaptiveAvgPool3D", "AdaptiveMaxPool2D", "UpsampleNearest1D", "UpsampleNearest2D", "UpsampleBilinear2D",
         "UpsampleBicubic2D", "ReflectionPad1D", "ReflectionPad2D", "ReplicationPad1D", "ReplicationPad2D",
         "NativeGroupNorm"),
        _first_of(1),
    ),
    "Bmm": _first_of(2),
    **dict.fromkeys(
        ("ScaledDotProductFlashAttentionForCpu", "ScaledDotProductFlashAttention",
         "ScaledDotProductEfficientAttention", "ScaledDotProductAttentionMath"),
        _first_of(3),
    ),
    **dict.fromkeys(
        ("Sum", "Mean", "Amax", "Softmax", "LogSoftmax", "Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Cat",
         "Glu"),
        _along("dim"),
    ),
    "Transpose": _along("dim0", "dim1"),
    "Permute": _permute,
    "Stack": _stack,
    "NativeLayerNorm": _layer_norm,
    "NativeBatchNorm": _batch_norm,
    "ConstantPadNd": _pad,
}  # fmt: skip


class Flow:
    """Which places of the graph of ``outputs`` are proven to hold the samples in order.

    Args:
        outputs: ``[n, ...]``.
        n: How many samples.
    """

    def __init__(self, outputs: Tensor, n: int) -> None:
        self._n = n
        self._met: set[Any] = set()
        self._doubtful: set[Any] = set()
        self.leaves: set[int] = set()
        """The ``id`` of every leaf tensor that the graph leads to."""
        self.apart = True
        """Whether every operation of the graph, but those on parameters alone, keeps the samples apart."""
        doubted: list[Any] = []
        stack = [] if outputs.grad_fn is None else [outputs.grad_fn]
        while stack:
            node = stack.pop()
            if node in self._met:
                continue
            self._met.add(node)
            variable = getattr(node, "variable", None)
            if variable is not None:
                self.leaves.add(id(variable))
            for i, (into, place) in enumerate(node.next_functions):
                if into is not None:
                    stack.append(into)
                    if not self._keeps(node, i, into, place):
                        doubted.append(into)
                        self.apart = self.apart and hasattr(into, "variable")
        while doubted:
            node = doubted.pop()
            if node not in self._doubtful:
                self._doubtful.add(node)
                doubted += [into for into, _ in node.next_functions if into is not None]

    def leads_to(self, node: Any) -> bool:
        """Whether any output depends on it."""
        return node in self._met

    def proves(self, node: Any) -> bool:
        """Whether every path from it to the outputs keeps the samples apart and in order."""
        return node in self._met and node not in self._doubtful

    def _keeps(self, node: Any, i: int, into: Any, place: int) -> bool:
        name = node.name()
        keeps = _KEEPS.get(name.rstrip("0123456789").removesuffix("Backward"))
        if keeps is None:
            return False
        try:
            out, shape = (tuple(node._input_metadata[0].shape), tuple(into._input_metadata[place].shape))
            if name == "SumBackward0" or name == "MeanBackward0":
                return False  # over everything
            return keeps(node, i, out, shape, self._n)
        except (AttributeError, IndexError, TypeError, RuntimeError):
            return False  # another torch, which keeps other things: to be measured

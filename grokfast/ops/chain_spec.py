"""The numbers that describe a chain of layers to :func:`grokfast.ops.fisher_chain`, and what they must satisfy."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from grokfast.errors import InputError

FIELDS = 17
CONV, RELU, MAXPOOL, LINEAR = range(4)


class Layer(NamedTuple):
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
    def parse(cls, spec: Sequence[int]) -> list[Layer]:
        """The layers of a chain."""
        layers = []
        for start in range(0, len(spec), FIELDS):
            n = tuple(spec[start : start + FIELDS])
            layers.append(cls(n[0], n[1:4], n[4:7], n[7:9], n[9:11], n[11:13], n[13:15], n[15], n[16]))
        return layers


@functools.lru_cache(maxsize=256)
def check_chain(spec: tuple[int, ...], inputs: int, sizes: tuple[int, ...]) -> None:
    """Raise unless the layers fit each other, ``inputs`` values a sample, and parameters of these sizes (per member).

    Raises:
        InputError: With the layer that does not fit. A specification is looked at once.
    """
    if not spec or len(spec) % FIELDS:
        raise InputError(f"spec must have {FIELDS} numbers a layer, got {len(spec)}")
    values, used = inputs, set()
    for k, layer in enumerate(Layer.parse(spec)):
        if not 0 <= layer.kind <= LINEAR:
            raise InputError(f"layer {k}: kind must lie in 0 .. {LINEAR}, got {layer.kind}")
        if min(*layer.into, *layer.out) < 1 or prod(layer.into) != values:
            raise InputError(f"layer {k} must take {values} values a sample, got sizes {layer.into} to {layer.out}")
        if layer.out != _out(layer):
            raise InputError(f"layer {k}: sizes {layer.into} do not become {layer.out}")
        for name, index, size in zip(("weight", "bias"), (layer.weight, layer.bias), _parameters(layer), strict=True):
            if index == -1 and (size == 0 or name == "bias"):
                continue
            if not 0 <= index < len(sizes) or index in used or sizes[index] != size:
                raise InputError(
                    f"layer {k}: {name} must be one of {len(sizes)} parameters, with {size} values a member and in no "
                    f"other layer, got index {index}"
                )
            used.add(index)
        values = prod(layer.out)
    if used != set(range(len(sizes))):
        raise InputError(f"every parameter must belong to a layer, got {len(sizes)} of which {sorted(used)} do")


def _parameters(layer: Layer) -> tuple[int, int]:
    """Values of weight and bias."""
    if layer.kind == CONV:
        return layer.out[0] * layer.into[0] * prod(layer.kernel), layer.out[0]
    if layer.kind == LINEAR:
        return layer.out[0] * prod(layer.into), layer.out[0]
    return 0, 0


def _out(layer: Layer) -> tuple[int, ...]:
    """What comes out of a layer by its other numbers, empty if they make no sense."""
    if layer.kind == RELU:
        return layer.into
    if layer.kind == LINEAR:
        return layer.out[0], 1, 1
    if min(*layer.kernel, *layer.stride, *layer.dilation) < 1 or min(layer.padding) < 0:
        return ()
    padding, dilation = (layer.padding, layer.dilation) if layer.kind == CONV else ((0, 0), (1, 1))
    if (layer.padding, layer.dilation) != (padding, dilation):
        return ()
    sides = zip(layer.into[1:], layer.kernel, layer.stride, padding, dilation, strict=True)
    map_out = tuple((size + 2 * pad - step * (taps - 1) - 1) // stride + 1 for size, taps, stride, pad, step in sides)
    channels = layer.out[0] if layer.kind == CONV else layer.into[0]
    return channels, *map_out

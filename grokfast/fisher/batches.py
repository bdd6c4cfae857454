"""Inputs as blocks of samples: tensors are cut, batches of an iterable pass through (and are cut too)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grokfast.errors import InputError
from grokfast.fisher.randomness import undisturbed
from grokfast.fisher.refusals import mark

Labels = Tensor | str | None


@dataclass(frozen=True)
class Inputs:
    """What a model is called with: tensors whose leading axis holds the samples.

    Attributes:
        tensors: The arguments.
        names: A keyword for each, "" for a positional one; positional ones come first.
    """

    tensors: tuple[Tensor, ...]
    names: tuple[str, ...]

    @property
    def n(self) -> int:
        """How many samples."""
        return int(self.tensors[0].shape[0])

    def of(self, tensors: Iterable[Tensor]) -> Inputs:
        """The same arguments with other tensors."""
        return Inputs(tuple(tensors), self.names)

    def rows(self, index: slice | Tensor | list[int]) -> Inputs:
        """Some of the samples."""
        return self.of(t[index] for t in self.tensors)

    def double(self) -> Inputs:
        """Float32 as float64."""
        return self.of(t.double() if t.dtype == torch.float32 else t for t in self.tensors)

    def call(self, model: nn.Module) -> Any:
        """What the model returns for them."""
        pairs = list(zip(self.names, self.tensors, strict=True))
        try:
            return model(*(t for name, t in pairs if not name), **{name: t for name, t in pairs if name})
        except Exception as error:  # whatever a model may raise
            mark(error, self.tensors)
            raise


@dataclass(frozen=True)
class Block:
    """Model inputs with equal leading axes, and labels if there are any.

    Attributes:
        inputs: The model's arguments.
        targets: Labels.
        mask: Which positions of the outputs count.
        whole: The batch that this block was cut from; None if it is a whole one.
    """

    inputs: Inputs
    targets: Tensor | None = None
    mask: Tensor | None = None
    whole: Inputs | None = None

    @property
    def n(self) -> int:
        """How many samples."""
        return self.inputs.n

    @property
    def together(self) -> int:
        """How many samples its batch has."""
        return (self.whole or self.inputs).n

    def slice(self, start: int, stop: int) -> Block:
        """The samples from ``start`` up to ``stop``."""
        rows = slice(start, stop)
        return Block(
            self.inputs.rows(rows),
            None if self.targets is None else self.targets[rows],
            None if self.mask is None else self.mask[rows],
            self.whole or self.inputs,
        )

    def cut(self, size: int) -> Iterator[Block]:
        """The same samples in blocks of at most ``size``, as even as can be; an empty block stays one."""
        if self.n <= size:
            yield self
            return
        parts = -(-self.n // size)
        for k in range(parts):
            yield self.slice(k * self.n // parts, (k + 1) * self.n // parts)


def twice(block: Block) -> Block:
    """A block of one sample as a block of two."""
    double = [None if t is None else torch.cat([t, t]) for t in (block.targets, block.mask)]
    return Block(block.inputs.rows([0, 0]), double[0], double[1], block.whole)


def batches(inputs: object, targets: Labels, device: torch.device, mask: Labels = None) -> Iterator[Block]:
    """The batches of ``inputs``, on the model's device.

    Args:
        inputs: A tensor ``[n, ...]``; a tuple of tensors, the model's arguments; a dictionary of tensors, its
            keyword arguments; or an iterable (list, DataLoader) of batches, each one of these, ``[inputs]`` or
            ``[inputs, targets]``.
        targets: Labels of a tensor, tuple or dictionary; or the key of a dictionary under which they are.
        device: Where the model is.
        mask: Which positions of the outputs count; or the key of a dictionary.

    Raises:
        InputError: If the inputs are anything else, or the leading axes differ.
    """
    if isinstance(inputs, Tensor | tuple | Mapping):
        yield _block(inputs, targets, mask, device)
        return
    if isinstance(inputs, str) or not isinstance(inputs, Iterable):
        raise InputError(
            "inputs must be a tensor, a tuple of tensors or a dictionary of tensors (the model's arguments) or an "
            f"iterable of batches, got {type(inputs).__name__}"
        )
    if isinstance(targets, Tensor) or isinstance(mask, Tensor):
        raise InputError(
            "targets= and mask= go with a tensor, tuple or dictionary; an iterable must give batches "
            "[inputs, targets], or dictionaries with targets='key' and mask='key'"
        )
    for batch in inputs if isinstance(inputs, list) else undisturbed(inputs):
        if isinstance(batch, Mapping | Tensor):
            yield _block(batch, targets, mask, device)
        elif isinstance(batch, list | tuple) and 1 <= len(batch) <= 2:
            own = batch[1] if len(batch) == 2 else targets
            yield _block(batch[0], own, mask, device)
        else:
            size = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
            raise InputError(
                "a batch must be a tensor, a dictionary, [inputs] or [inputs, targets] (several model arguments: a "
                f"tuple as inputs), got {type(batch).__name__}{size}"
            )


def _block(inputs: object, targets: Labels, mask: Labels, device: torch.device) -> Block:
    if isinstance(inputs, Mapping):
        named = dict(inputs)
        targets, mask = _taken(named, "targets", targets), _taken(named, "mask", mask)
        names, args = tuple(map(str, named)), tuple(named.values())
    else:
        args = inputs if isinstance(inputs, tuple) else (inputs,)
        names = ("",) * len(args)
        for what, label in (("targets", targets), ("mask", mask)):
            if isinstance(label, str):
                raise InputError(f"{what}={label!r} names a key of a dictionary, got inputs of {type(inputs).__name__}")
    if not args or not all(isinstance(a, Tensor) for a in args):
        kinds = ", ".join((f"{n}=" if n else "") + type(a).__name__ for n, a in zip(names, args, strict=True))
        raise InputError(f"inputs must be tensors, got {kinds or f'an empty {type(inputs).__name__}'}")
    if any(a.dim() == 0 for a in args) or len({a.shape[0] for a in args}) > 1:
        raise InputError(
            "inputs must share their leading axis, the samples, got shapes "
            f"{[list(a.shape) for a in args]}; put what is common to all samples into the model"
        )
    n = args[0].shape[0]
    for what, rows in (("targets", targets), ("mask", mask)):
        if rows is not None and (not isinstance(rows, Tensor) or rows.dim() == 0 or rows.shape[0] != n):
            got = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise InputError(f"{what} must have one row per sample ({n}), got {got}")
    clean = Inputs(tuple(_clean(a, device) for a in args), names)
    return Block(clean, _tensor(targets), _tensor(mask))


def _tensor(label: Labels) -> Tensor | None:
    return label if isinstance(label, Tensor) else None


def _taken(named: dict[str, Any], what: str, label: Labels) -> Labels:
    """Labels out of a dictionary, if ``label`` is a key."""
    if not isinstance(label, str):
        return label
    if label not in named:
        raise InputError(f"{what}={label!r} must be a key of the batch, which has {list(named)}")
    found = named.pop(label)
    if not isinstance(found, Tensor):
        raise InputError(f"{what} must be a tensor, got {type(found).__name__} under {label!r}")
    return found


def _clean(a: Tensor, device: torch.device) -> Tensor:
    a = a.detach().to(device)
    if a.dtype.is_floating_point and not _sums_up(a) and not bool(torch.isfinite(a).all()):
        raise InputError("inputs must be finite, got NaN or infinity among them")
    return a.clone() if a.is_inference() else a


def _sums_up(a: Tensor) -> bool:
    """Whether the sum is finite: then every value is.

    On the CPU by numpy: a sum by torch wakes its threads, which then spin for milliseconds on the cores that the
    kernels' threads need.
    """
    if a.device.type != "cpu" or a.dtype not in (torch.float32, torch.float64):
        return math.isfinite(a.sum().item())
    with np.errstate(all="ignore"):
        return bool(np.isfinite(a.numpy().sum()))

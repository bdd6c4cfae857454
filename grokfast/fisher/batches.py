"""Inputs as blocks of samples: tensors are cut, batches of an iterable pass through (and are cut too)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grokfast.errors import InputError


@dataclass(frozen=True)
class Block:
    """Model inputs with equal leading axes, and targets if there are any.

    Attributes:
        args: The model's arguments.
        targets: Labels.
        cut_from: How many samples the batch had that this block was cut from; 0 if it is whole.
    """

    args: tuple[Tensor, ...]
    targets: Tensor | None = None
    cut_from: int = 0

    @property
    def n(self) -> int:
        """How many samples."""
        return int(self.args[0].shape[0])

    def slice(self, start: int, stop: int) -> Block:
        """The samples from ``start`` up to ``stop``."""
        targets = None if self.targets is None else self.targets[start:stop]
        return Block(tuple(a[start:stop] for a in self.args), targets, self.cut_from or self.n)

    def cut(self, size: int) -> Iterator[Block]:
        """The same samples in blocks of at most ``size``; an empty block stays one."""
        if self.n <= size:
            yield self
            return
        for start in range(0, self.n, size):
            yield self.slice(start, start + size)


def batches(inputs: object, targets: Tensor | None, device: torch.device) -> Iterator[Block]:
    """The batches of ``inputs``, on the model's device.

    Args:
        inputs: A tensor ``[n, ...]``; a tuple of tensors, the model's arguments; or an iterable (list,
            DataLoader) of batches, each a tensor, ``[inputs]`` or ``[inputs, targets]`` with ``inputs`` a
            tensor or tuple.
        targets: Labels of a tensor or tuple.
        device: Where the model is.

    Raises:
        InputError: If the inputs are anything else, or the leading axes differ.
    """
    if isinstance(inputs, Tensor | tuple):
        yield _block(inputs, targets, device)
        return
    if isinstance(inputs, Mapping | str) or not isinstance(inputs, Iterable):
        raise InputError(
            "inputs must be a tensor, a tuple of tensors (the model's arguments) or an iterable of "
            "batches, got "
            f"{type(inputs).__name__}"
        )
    if targets is not None:
        raise InputError("targets= goes with a tensor or tuple; an iterable must give batches [inputs, targets]")
    for batch in inputs:
        if isinstance(batch, list | tuple) and 1 <= len(batch) <= 2:
            yield _block(batch[0], batch[1] if len(batch) == 2 else None, device)
        elif isinstance(batch, Tensor):
            yield _block(batch, None, device)
        else:
            size = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
            raise InputError(
                "a batch must be a tensor, [inputs] or [inputs, targets] (several model arguments: "
                "a tuple as "
                f"inputs), got {type(batch).__name__}{size}"
            )


def _block(inputs: object, targets: Tensor | None, device: torch.device) -> Block:
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    if not args or not all(isinstance(a, Tensor) for a in args):
        raise InputError(f"inputs must be tensors, got {', '.join(type(a).__name__ for a in args) or 'an empty tuple'}")
    if any(a.dim() == 0 for a in args) or len({a.shape[0] for a in args}) > 1:
        raise InputError(
            "inputs must share their leading axis, the samples, got shapes "
            f"{[list(a.shape) for a in args]}; put what is common to all samples into the model"
        )
    if targets is not None and (
        not isinstance(targets, Tensor) or targets.dim() == 0 or targets.shape[0] != args[0].shape[0]
    ):
        got = list(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(f"targets must have one row per sample ({args[0].shape[0]}), got {got}")
    clean = []
    for a in args:
        a = a.detach().to(device)
        if a.dtype.is_floating_point and not _sums_up(a) and not bool(torch.isfinite(a).all()):
            raise InputError("inputs must be finite, got NaN or infinity among them")
        clean.append(a.clone() if a.is_inference() else a)
    return Block(tuple(clean), targets)


def _sums_up(a: Tensor) -> bool:
    """Whether the sum is finite: then every value is.

    On the CPU by numpy: a sum by torch wakes its threads, which then spin for milliseconds on the cores that the
    kernels' threads need.
    """
    if a.device.type != "cpu" or a.dtype not in (torch.float32, torch.float64):
        return bool(torch.isfinite(a.sum()))
    with np.errstate(all="ignore"):
        return bool(np.isfinite(a.numpy().sum()))

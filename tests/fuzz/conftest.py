"""Values that do not belong: what a caller may pass by mistake."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

NUMBERS = [0, -1, 1, 2, 7, 0.0, 0.5, -0.5, 1.0, 1e308, 5e-324, float("nan"), float("inf"), -float("inf"), 2**63, 10**30]
SPECIAL = [torch.nan, torch.inf, -torch.inf, 1e-310, 1e308, -1.0, 0.0]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool,
          torch.complex64]  # fmt: skip
SHAPES = [(), (0,), (1,), (3,), (0, 3), (3, 0), (2, 2), (4, 4), (2, 3, 4), (1, 1, 1, 1)]


def tensor(chance: random.Random) -> Tensor:
    """Any tensor."""
    made = torch.rand(chance.choice(SHAPES), generator=torch.Generator().manual_seed(chance.randrange(1000))) * 9 - 2
    made = made.to(chance.choice(DTYPES))
    return made.to("meta") if chance.random() < 0.05 else made


def spoilt(chance: random.Random, value: Tensor) -> Tensor:
    """Nearly what was asked: another shape, type or layout, or a number that does not belong."""
    how = chance.choice(["type", "axis", "less", "entry", "spread", "shift", "none", "grad"])
    if how == "type":
        return value.to(chance.choice(DTYPES))
    if how == "axis" or value.dim() == 0:
        return value.unsqueeze(0) if chance.random() < 0.5 or value.dim() == 0 else value.sum(0)
    if how == "less":
        axis = chance.randrange(value.dim())
        return value.narrow(axis, 0, chance.choice([0, max(0, value.shape[axis] - 1)]))
    if how == "entry" and value.numel():
        changed = value.clone()
        number = torch.tensor(chance.choice(SPECIAL), dtype=torch.float64).to(value.dtype)  # infinite in narrow types
        place = chance.randrange(value.numel())
        changed.view(-1)[place] = number if changed.is_floating_point() else chance.choice([0, 99])
        return changed
    if how == "spread":
        return torch.stack([value, value], -1)[..., 1]
    if how == "shift":
        room = torch.empty(value.numel() + 3, dtype=value.dtype)
        return room[3:].view(value.shape).copy_(value)
    if how == "none":
        return value[:0]
    return value.clone().requires_grad_() if value.is_floating_point() else value


def hostile(chance: random.Random, value: Any) -> Any:
    """What may come in place of a value."""
    if isinstance(value, Tensor) and chance.random() < 0.6:
        return spoilt(chance, value)
    if isinstance(value, dict) and value and chance.random() < 0.7:
        name = chance.choice(list(value))
        changed = {**value, name: hostile(chance, value[name])}
        if chance.random() < 0.2:
            del changed[name]
        return changed
    if isinstance(value, list) and value and chance.random() < 0.5:
        return value[:-1] if chance.random() < 0.5 else [*value[:-1], hostile(chance, value[-1])]
    others = [
        None, "text", "", b"raw", True, [], {}, (), object(), [[1], [1, 2]], {"w": 1}, "nan", ["a"], np.array("x"),
        np.arange(3.0), np.zeros((2, 0)), lambda *_: None, torch.nn.Linear(2, 2),
    ]  # fmt: skip
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(NUMBERS)
    return tensor(chance) if kind < 0.6 else chance.choice(others)


@pytest.fixture(scope="session")
def in_place_of() -> Callable[[random.Random, Any], Any]:
    return hostile

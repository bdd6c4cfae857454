"""Float32 that is float32 on CUDA too: products and convolutions without TF32, whatever is set outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import torch

_lock = threading.Lock()
_inside = 0  # blocks of full_float32() in progress
_outside: list[tuple[Any, str, Any]] = []  # what was set when the first of them began


def _settings() -> tuple[list[tuple[Any, str]], str | bool]:
    """Where torch keeps the precision of float32 on CUDA, and what says full precision there."""
    new = hasattr(torch.backends.cuda.matmul, "fp32_precision")  # torch 2.9 and later
    places = ("cuda.matmul", "cudnn.conv", "cudnn.rnn") if new else ("cuda.matmul", "cudnn")
    name = "fp32_precision" if new else "allow_tf32"
    return [(attrgetter(place)(torch.backends), name) for place in places], "ieee" if new else False


@contextmanager
def full_float32() -> Iterator[None]:
    """Products, convolutions and recurrent layers of float32 on CUDA in full precision.

    TF32 has ten bits of mantissa; by torch's default convolutions use it, and a squared gradient is then off by 1e-3.
    The settings are the process's: they are put back when the last block that is in progress ends, also after an error.
    """
    global _inside
    places, full = _settings()
    with _lock:
        if _inside == 0:
            _outside[:] = [(place, name, getattr(place, name)) for place, name in places]
            for place, name in places:
                setattr(place, name, full)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                for place, name, value in _outside:
                    setattr(place, name, value)

"""Torch's threads out of the way of the kernels' threads, and its arithmetic out of the denormal range."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0  # threads in one_thread() now
_outside = 1  # the number that was set when the first of them came


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's operations here on the calling thread, whatever number of threads is set outside.

    After an operation that used several threads, torch's workers spin for milliseconds on the cores that the
    kernels' own threads need next. So the little arithmetic between two kernels is done on one thread. The
    number that was set is put back, also after an error. To set it costs a fraction of a microsecond.

    Torch's number is each thread's own, but a new thread takes the one that was set last, by whomever. A thread that
    comes while another is in here may so have got that one's 1, and is given the number from before instead.
    """
    global _inside, _outside
    with _lock:
        mine = torch.get_num_threads()
        if _inside == 0:
            _outside = mine
        elif mine == 1:
            mine = _outside
        _inside += 1
    try:
        torch.set_num_threads(1)
        yield
    finally:
        with _lock:
            _inside -= 1
            torch.set_num_threads(mine)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Take numbers below the normal range for zero on this thread, as it was afterwards: with decay, weights get there.

    Arithmetic with them costs many times what that with zeros does.
    """
    flushed = bool(torch.tensor(1e-40) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)

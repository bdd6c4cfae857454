"""Torch's threads out of the way of the kernels' threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's operations here on the calling thread, whatever number of threads is set outside.

    After an operation that used several threads, torch's workers spin for milliseconds on the cores that the
    kernels' own threads need next. So the little arithmetic between two kernels is done on one thread. The
    number that was set is put back, also after an error. To set it costs a fraction of a microsecond.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""Run kernels in threads of our own: they release the GIL, and no threading layer is involved."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


def usable_threads() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tasks(tasks: Sequence[Callable[[], object]], threads: int) -> None:
    """Run independent tasks, at most ``threads`` at a time, the calling thread among them."""
    if threads <= 1 or len(tasks) <= 1:
        for task in tasks:
            task()
        return
    remaining = iter(tasks)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                task = next(remaining, None)
            if task is None:
                return
            task()

    helpers = min(threads, len(tasks)) - 1
    with ThreadPoolExecutor(helpers) as pool:
        futures = [pool.submit(work) for _ in range(helpers)]
        work()
        for future in futures:
            future.result()


def run_together(tasks: Sequence[Callable[[], object]]) -> None:
    """Run tasks that wait for each other, each in a thread of its own; none unless all can.

    None runs in the calling thread: an exception there, such as an interrupt, cannot leave the others waiting for it.
    """
    if len(tasks) == 1:
        tasks[0]()
        return
    go = threading.Event()
    all_here = False

    def run(task: Callable[[], object]) -> None:
        go.wait()
        if all_here:
            task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        try:
            futures = [pool.submit(run, task) for task in tasks]
            all_here = True
        finally:
            go.set()
        for future in futures:
            future.result()

"""The pool of threads behind the kernels: what happens when memory or threads run out, and across a fork."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import threading
import traceback
from pathlib import Path

import pytest
import torch

from grokfast.ops import (
    LabelMode,
    cnn_cross_entropy_,
    conv_relu_pool,
    cross_entropy,
    fisher_chain,
    fisher_linear,
    fisher_patches,
    fisher_two_layer,
    metric_gram,
    mlp_adam_epoch_,
    mlp_cross_entropy_,
    mlp_losses,
    mlp_nested_losses,
)
from grokfast.ops._native import native
from grokfast.ops.conv_pool import conv_relu_pool_backward, conv_relu_pool_winners
from grokfast.ops.fisher_chain import CONV, LINEAR, MAXPOOL, RELU

E = 6  # members, so that five threads have work


def _draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def _mlp(n, op):
    P, H, C, N = 5 + n, 20 + n, 6 + n, 70 + n
    params = [_draw(E, 2 * P, H).transpose(1, 2), _draw(E, H), _draw(E, C, H), _draw(E, C)]
    pairs, labels = torch.randint(0, P, (E, N, 2)), torch.randint(0, C, (E, N))
    if op is mlp_cross_entropy_:
        grads = [torch.empty_like(p) for p in params]
        return lambda: [*op(params, pairs, labels, grads), *grads]
    if op is mlp_losses:
        return lambda: list(op(params, pairs, labels))
    arrivals = [torch.randint(0, 5, p.shape, dtype=torch.int32) for p in params]
    return lambda: list(op(params, arrivals, 4, pairs, labels))


def _epoch(n):
    P, H, C, N = 5 + n, 20 + n, 6 + n, 70 + n
    params = [_draw(E, 2 * P, H).transpose(1, 2), _draw(E, H), _draw(E, C, H), _draw(E, C)]
    rates, active = torch.full((E,), 1e-3, dtype=torch.float64), torch.ones(E, dtype=torch.uint8)
    pairs, labels = torch.randint(0, P, (E, N, 2)), torch.randint(0, C, (E, N))

    def work():
        mine, means, squares = ([p.clone() * k for p in params] for k in (1, 0, 0))
        found = mlp_adam_epoch_(
            mine, means, squares, pairs, labels, 40 + n, rates, rates, active, 0, 0.9, 0.99, 1e-8, False
        )
        return [*found, *mine]

    return work


def _cnn(n):
    size = 4 + 2 * (n // 8)
    params = [_draw(E, 2 + n, 1, 3, 3), _draw(E, 2 + n), _draw(E, 3, (2 + n) * (size // 2) ** 2), _draw(E, 3)]
    x, labels = _draw(E, 10, 1, size, size), torch.randint(0, 3, (E, 10))
    grads = [torch.empty_like(p) for p in params]
    return lambda: [*cnn_cross_entropy_(params, x, labels, grads), *grads]


def _conv(n, back):
    size = 4 + 2 * (n // 8)
    x, w, b = _draw(E, 20 + n, 1, size, size), _draw(E, 2 + n, 1, 3, 3), _draw(E, 2 + n)
    if not back:
        return lambda: [conv_relu_pool(x, w, b)]
    pooled, winners = conv_relu_pool_winners(x, w, b)
    return lambda: list(conv_relu_pool_backward(pooled, winners, x, w, True))


def _two_layer(n):
    x, w1, b1, w2, b2 = _draw(30 + n, 7 + n), _draw(2, 9 + n, 7 + n), _draw(2, 9 + n), _draw(2, 4 + n, 9 + n), None
    return lambda: fisher_two_layer(x, w1, b1, w2, b2, None, int(LabelMode.SOFTMAX))


def _chain(n):
    one = [1, 1] * 4
    C, half = 3 + n, 3 + n // 8
    spec = [
        CONV, 1, 2 * half, 2 * half, C, 2 * half, 2 * half, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1,
        RELU, C, 2 * half, 2 * half, C, 2 * half, 2 * half, *one, -1, -1,
        MAXPOOL, C, 2 * half, 2 * half, C, half, half, 2, 2, 2, 2, 0, 0, 1, 1, -1, -1,
        LINEAR, C * half * half, 1, 1, 3, 1, 1, *one, 2, 3,
    ]  # fmt: skip
    params = [_draw(1, C, 1, 3, 3), _draw(1, C), _draw(1, 3, C * half * half) / 30, _draw(1, 3)]
    x = _draw(40, 1, 2 * half, 2 * half)
    return lambda: fisher_chain(x, params, spec, None, int(LabelMode.SOFTMAX))


def _linear(n, positions):
    g, a = _draw(E, 9, positions, 30 + n), _draw(E, 9, positions, 20 + n)
    return lambda: [fisher_linear(g, a)]


def _patches(n):
    side = 4 + n // 8
    g, x = _draw(E, 9, 1, 3 + n, (side - 1) ** 2), _draw(E, 9, 1, side * side)
    base = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).flatten()
    return lambda: [fisher_patches(g, x, base, torch.tensor([0, 1, side, side + 1]))]


def _gram(n):
    theta = [_draw(E, 10000 * (n + 1)) for _ in range(3)]
    return lambda: [metric_gram([theta[0]], [theta[1]], [theta[2]], [], [])]


def _entropy(n):
    logits, labels = _draw(E, 4, 5 + n), torch.randint(0, 5, (E, 4))
    return lambda: list(cross_entropy(logits, labels, True))


PROBLEMS = {
    "mlp_cross_entropy": lambda n: _mlp(n, mlp_cross_entropy_),
    "mlp_losses": lambda n: _mlp(n, mlp_losses),
    "mlp_nested": lambda n: _mlp(n, mlp_nested_losses),
    "mlp_epoch": _epoch,
    "cnn_cross_entropy": _cnn,
    "conv_relu_pool": lambda n: _conv(n, False),
    "conv_relu_pool_backward": lambda n: _conv(n, True),
    "fisher_two_layer": lambda _: _two_layer(0),  # these keep no scratch memory
    "fisher_chain": lambda _: _chain(0),
    "fisher_linear, one position": lambda _: _linear(0, 1),
    "fisher_linear, few": lambda _: _linear(0, 5),
    "fisher_patches": lambda _: _patches(0),
    "metric_gram": _gram,
    "cross_entropy": _entropy,
}


def _in_new_thread(work):
    """The outcome of ``work`` on a thread of its own, which has none of the kernels' scratch memory yet."""
    outcome = []

    def run():
        torch.set_num_threads(threads)
        try:
            outcome.append(work())
        except BaseException as error:  # what a kernel raises is the answer
            outcome.append(error)

    threads = torch.get_num_threads()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


def each_request_fails(core, name, threads):
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    sizes = itertools.count()
    request = idle = 0
    # Workers keep their scratch memory, and which of them takes part is chance: only where no request comes for several
    # growing problems in a row are there no more.
    while idle < 3 and request < 200:
        # Each problem is larger than all before it: no thread has scratch memory that is large enough already.
        work = PROBLEMS[name](next(sizes))
        core.fail_allocation(request)
        found = _in_new_thread(work)
        reached = core.fail_allocation(-1) > request
        assert isinstance(found, MemoryError if reached else list), found
        if request % 8 == 0 and not idle:
            assert all(torch.equal(a, b) for a, b in zip(_in_new_thread(work), _alone(work), strict=True))
        request, idle = (request + 1, 0) if reached else (request, idle + 1)
    assert 0 < request < 200, request


def each_request_of_all_fails(threads):
    """Each problem in a child of its own, whose pool's workers have no scratch memory of the problems before it."""
    for name in PROBLEMS:
        child = os.fork()
        if child == 0:
            try:
                each_request_fails(native(), name, threads)
            except BaseException:
                print(f"{name}, {threads} threads", file=sys.stderr)
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, name


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_request_for_memory_may_fail(core, threads):
    # In a new process: after other tests the workers' scratch memory may be large enough already.
    here = Path(__file__)
    _script(
        f"""
        import sys
        sys.path.insert(0, {str(here.parent)!r})
        from {here.stem} import each_request_of_all_fails
        each_request_of_all_fails({threads})
        """
    )


def _alone(work):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = [tensor.clone() for tensor in work()]
    torch.set_num_threads(threads)
    return found


def _script(code, **environment):
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=120, env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_where_no_thread_can_be_had_the_answer_is_the_same(core):
    found = _script(
        """
        import resource, torch
        from grokfast.ops import cross_entropy
        torch.set_num_threads(1)
        logits, labels = torch.randn(64, 3, 5), torch.zeros(64, 3, dtype=torch.int64)
        wanted = cross_entropy(logits, labels, True)
        torch.set_num_threads(5)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20),) * 2)  # a thread's stack takes 8 MiB
        before = len(__import__("os").listdir("/proc/self/task"))
        found = cross_entropy(logits, labels, True)
        assert len(__import__("os").listdir("/proc/self/task")) == before
        assert all(torch.equal(a, b) for a, b in zip(wanted, found))
        print("same")
        """
    )
    assert found == "same\n"


def test_out_of_memory_under_a_limit_is_a_memory_error(core):
    found = _script(
        """
        import resource, torch
        from grokfast.ops import mlp_losses
        E, P, H, C, N = 6, 3, 3_000_000, 1, 2
        pairs, labels = torch.zeros(E, N, 2, dtype=torch.int64), torch.zeros(E, N, dtype=torch.int64)
        def params(H):
            rows = torch.zeros(E, 2 * P, H).transpose(1, 2)
            return [rows, torch.zeros(E, H), torch.zeros(E, C, H), torch.zeros(E, C)]
        mlp_losses(params(5), pairs, labels)
        large = params(H)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20),) * 2)
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            try:
                mlp_losses(large, pairs, labels)
            except MemoryError:
                print("MemoryError")
        """
    )
    assert found == "MemoryError\n" * 3


def test_a_fork_while_the_pool_works_has_a_pool_of_its_own(core):
    found = _script(
        """
        import os, threading, torch
        from grokfast.ops import cross_entropy
        logits, labels = torch.randn(40, 50, 30), torch.zeros(40, 50, dtype=torch.int64)
        torch.set_num_threads(2)
        wanted = [t.tolist() for t in cross_entropy(logits, labels, False)[:2]]
        stop = False
        def busy():
            torch.set_num_threads(2)
            while not stop:
                cross_entropy(logits, labels, True)
        workers = [threading.Thread(target=busy) for _ in range(2)]
        for worker in workers: worker.start()
        good = 0
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                os._exit(0 if [t.tolist() for t in cross_entropy(logits, labels, False)[:2]] == wanted else 1)
            good += os.waitpid(pid, 0)[1] == 0
        stop = True
        for worker in workers: worker.join()
        print(good)
        """
    )
    assert found == "30\n"

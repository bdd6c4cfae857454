"""Every kernel with 2 and 5 threads, also called from several threads at a time; run under ThreadSanitizer too."""

from __future__ import annotations

import threading

import pytest
import torch

from grokfast.ops.threads import one_thread

# Of the compiled kernels: the references are torch's operations, whose bits and NaN are torch's affair.
pytestmark = pytest.mark.usefixtures("core")

SIZES = {  # some tasks each
    "adam": {"n": 40_000},
    "sgd": {"n": 40_000},
    "two_hot_relu": {"N": 160},
    "cnn_cross_entropy": {"N": 300},
    "conv_relu_pool": {"N": 70},
    "conv_relu_pool_backward": {"N": 70},
    "fisher_two_layer": {"N": 300, "H": 70},
    "fisher_chain": {"N": 150},
    "fisher_linear": {"O": 40},
    "fisher_patches": {"N": 20},
    "metric_gram": {"n": 20_000},
    "mlp_nested": {"N": 160},
    "mlp_epoch": {"E": 5, "N": 160, "batch": 70},
}


def test_overlapping_calls_put_torch_s_number_of_threads_back():
    torch.set_num_threads(3)
    started, go = threading.Barrier(5), threading.Barrier(5)
    after = []

    def caller(k):
        for _ in range(20):
            with one_thread():
                assert torch.get_num_threads() == 1
        with one_thread():
            started.wait()
            go.wait()
        after.append(torch.get_num_threads())

    callers = [threading.Thread(target=caller, args=(k,)) for k in range(4)]
    for one in callers:
        one.start()
    started.wait()
    late = []
    newcomer = threading.Thread(target=lambda: late.extend(_number_within_and_after()))
    newcomer.start()
    newcomer.join()
    go.wait()
    for one in callers:
        one.join()
    assert late == [1, 3]
    assert after == [3] * 4
    assert torch.get_num_threads() == 3
    fresh = []
    last = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    last.start()
    last.join()
    assert fresh == [3]


def _number_within_and_after():
    with one_thread():
        within = torch.get_num_threads()
    return within, torch.get_num_threads()


def test_the_number_comes_back_after_an_error():
    torch.set_num_threads(3)
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3


def _same(found, wanted):
    return all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_threads_give_the_same_bits(cases, kernel_name, dtype):
    case = cases[kernel_name]
    sizes, tensors = case.problem(dtype=dtype, **SIZES.get(kernel_name, {}))
    wanted = case.run(sizes, *tensors)
    for threads in (2, 5):
        torch.set_num_threads(threads)
        for _ in range(3):
            assert _same(case.run(sizes, *tensors), wanted)


def test_calls_from_several_threads_at_a_time(cases, kernel_name):
    case = cases[kernel_name]
    problems = [case.problem(seed=seed, dtype=torch.float32, **SIZES.get(kernel_name, {})) for seed in range(4)]
    wanted = [case.run(sizes, *tensors) for sizes, tensors in problems]
    good = []

    def caller(k):
        torch.set_num_threads(2)
        sizes, tensors = problems[k]
        good.append(all(_same(case.run(sizes, *tensors), wanted[k]) for _ in range(5)))

    callers = [threading.Thread(target=caller, args=(k,)) for k in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert good == [True] * 4

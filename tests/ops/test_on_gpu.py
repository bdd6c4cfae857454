"""Every operation on a CUDA device, if there is one, against float64 on the CPU."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.gpu

LARGE = {
    "adam": {"n": 70_000},
    "sgd": {"n": 70_000},
    "mlp_cross_entropy": {"E": 5, "P": 23, "H": 130, "C": 70, "N": 130},
    "mlp_losses": {"E": 5, "P": 23, "H": 130, "C": 70, "N": 330},
    "mlp_nested": {"E": 3, "P": 23, "H": 70, "C": 70, "N": 130, "K": 9},
    "cnn_cross_entropy": {"E": 5, "N": 300, "side": 16, "O": 8, "k": 5, "H": 70},
    "fisher_linear": {"N": 70, "T": 5, "O": 70, "I": 90},
    "fisher_two_layer": {"E": 5, "N": 200, "I": 70, "H": 130, "C": 70},
    "metric_gram": {"n": 70_000},
}


def _there(tensors):
    return [tensor.to("cuda") for tensor in tensors]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", ["typical", "large"])
def test_the_answer(cases, kernel_name, dtype, sizes):
    case = cases[kernel_name]
    full, tensors = case.problem(dtype=dtype, **(LARGE.get(kernel_name, {}) if sizes == "large" else {}))
    case.check(full, tensors, [tensor.cpu() for tensor in case.run(full, *_there(tensors))])


def test_on_a_stream_beside_the_default_one(cases, kernel_name):
    case = cases[kernel_name]
    full, tensors = case.problem()
    there = _there(tensors)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        found = case.run(full, *there)
    stream.synchronize()
    case.check(full, tensors, [tensor.cpu() for tensor in found])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_bits_again(cases, kernel_name, seed):
    case = cases[kernel_name]
    full, tensors = case.problem(seed=seed, dtype=torch.float32)
    there = _there(tensors)
    first = case.run(full, *there)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(case.run(full, *there), first, strict=True))

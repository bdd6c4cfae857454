"""The CUDA kernels on the emulated GPU of ``tests/cuda``: sizes around their tiles, limits of a launch, any order.

``tests/cuda/run.sh`` builds them and runs this file with those of the operations; there every call that has a CUDA
kernel goes to it. Where a GPU is, the tests marked ``gpu`` run the real ones.
"""

from __future__ import annotations

import random

import pytest
import torch

from grokfast.errors import InputError
from grokfast.ops import cnn_cross_entropy_

AROUND_WARP, AROUND_TILE = [1, 2, 31, 32, 33, 65], [1, 2, 15, 16, 17, 33]
SIZES = {
    "adam": {"n": [1, 255, 256, 257, 700]},
    "sgd": {"n": [1, 255, 256, 257, 700]},
    "two_hot_relu": {"H": [1, 63, 64, 65], "N": [1, 7], "P": [1, 23]},
    "two_hot_relu_backward": {"H": [1, 127, 300], "N": [1, 7, 40], "P": [1, 23]},
    "cross_entropy": {"C": AROUND_WARP, "N": [1, 7, 8, 9, 17]},
    "mlp_cross_entropy": {"H": AROUND_WARP, "C": AROUND_WARP, "N": [1, 31, 64, 65], "P": [1, 23]},
    "mlp_epoch": {"H": AROUND_WARP, "C": AROUND_WARP, "N": [1, 31, 65], "P": [1, 23], "batch": [1, 7, 12, 30]},
    "mlp_losses": {"H": AROUND_WARP, "C": AROUND_WARP, "N": [1, 31, 64, 65], "P": [1, 23]},
    "mlp_nested": {"H": [1, 33], "C": [1, 33], "N": [1, 31, 65], "K": [1, 2, 9]},
    "cnn_cross_entropy": {"N": [1, 9, 33], "C": [1, 3], "O": [1, 4], "k": [1, 5], "side": [4, 7], "H": [1, 33]},
    "conv_relu_pool": {"N": [1, 9], "O": [1, 5], "C": [1, 3], "k": [1, 3, 5, 7], "height": [2, 3], "width": [2, 9]},
    "fisher_linear": {"T": [1, 2, 33], "N": [1, 31, 32, 33], "O": AROUND_TILE, "I": AROUND_TILE},
    "fisher_patches": {"N": [1, 3], "O": AROUND_TILE, "K": AROUND_TILE, "L": [1, 31, 32, 33], "groups": [1, 3]},
    "fisher_two_layer": {"N": [1, 33], "I": [1, 17], "H": [1, 33], "C": [1, 2, 17], "mode": [0, 1, 2], "S": [1, 3]},
    "fisher_chain": {"N": [1, 5], "O": [1, 3], "H": [1, 7], "classes": [2, 5], "mode": [0, 1, 2], "S": [1, 2]},
    "metric_gram": {"n": [1, 255, 257, 3000], "weighted": [0, 1], "split": [0, 1]},
}
SIZES["conv_relu_pool_backward"] = SIZES["conv_relu_pool"]
# As small as members may be.
SMALLEST = {
    "adam": {"n": 1},
    "sgd": {"n": 1},
    "two_hot_relu": {"P": 1, "H": 1, "N": 1},
    "two_hot_relu_backward": {"P": 1, "H": 1, "N": 1},
}
# What all members share.
SHARED = {"fisher_two_layer": (0,), "fisher_chain": (0,), "fisher_patches": (2, 3)}


@pytest.fixture
def gpu(emulated_gpu):
    if emulated_gpu is None:
        pytest.skip("NO EMULATED GPU: the CUDA kernels were not run; run tests/cuda/run.sh")
    emulated_gpu.seed(1)
    emulated_gpu.count_launches()
    yield emulated_gpu
    emulated_gpu.limit_grid(2**31 - 1, 65535)


# Operations whose CUDA form is a kernel of their name.
KERNELS = {
    "adam", "sgd", "two_hot_relu", "two_hot_relu_backward", "cross_entropy", "conv_relu_pool",
    "conv_relu_pool_backward", "fisher_chain", "fisher_linear", "fisher_patches", "fisher_two_layer", "metric_gram",
    "mlp_cross_entropy", "mlp_epoch", "mlp_losses", "mlp_nested", "cnn_cross_entropy",
}  # fmt: skip


def test_which_kernels_there_are(gpu):
    """Those above, and one that has tests of its own: test_cnn_epochs.py."""
    assert {name for name in dir(gpu) if name.startswith("cuda_")} == {
        f"cuda_{name}_{suffix}" for name in {*KERNELS, "cnn_epochs"} for suffix in ("f32", "f64")
    }


def _sizes(name, together=6):
    axes = SIZES[name]
    yield from ({axis: value} for axis, values in axes.items() for value in values)
    chance = random.Random(0)
    for _ in range(together):
        yield {axis: chance.choice(values) for axis, values in axes.items()} | {"E": chance.choice([1, 2, 5])}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sizes_around_warps_and_tiles(cases, kernel_name, dtype, gpu):
    case = cases[kernel_name]
    for seed, sizes in enumerate(_sizes(kernel_name)):
        gpu.seed(seed)
        full, tensors = case.problem(seed=seed, dtype=dtype, **sizes)
        try:
            case.check(full, tensors)
        except (AssertionError, RuntimeError) as error:
            raise AssertionError(f"{sizes}: {error}") from error
    assert gpu.count_launches() > 0 or kernel_name not in KERNELS


def _answers(case, sizes, **more):
    full, tensors = case.problem(**sizes, **more)
    return case.run(full, *tensors)


def test_the_order_of_blocks_and_threads_changes_no_bit(cases, kernel_name, gpu):
    case, sizes = cases[kernel_name], {"E": 3}
    wanted = _answers(case, sizes, dtype=torch.float32)
    for seed in range(2, 7):
        gpu.seed(seed)
        found = _answers(case, sizes, dtype=torch.float32)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True)), seed


def test_fewer_blocks_than_work_change_no_bit(cases, kernel_name, gpu):
    """What a launch of 2^31 blocks and more would do."""
    case = cases[kernel_name]
    sizes = {axis: values[-1] for axis, values in SIZES[kernel_name].items()} | {"E": 5}
    wanted = _answers(case, sizes)
    for x, y in ((1, 1), (2, 3)):
        gpu.limit_grid(x, y)
        found = _answers(case, sizes)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True)), (x, y)


@pytest.mark.parametrize("name", sorted(KERNELS - {"mlp_epoch"}))
def test_a_member_does_not_depend_on_the_stack(cases, name, gpu):
    case = cases[name]
    full, tensors = case.problem(E=5, dtype=torch.float32)
    shared = SHARED.get(name, ())
    together = case.run(full, *tensors)
    for e in (0, 3):
        own = [t if k in shared else t[e : e + 1] for k, t in enumerate(tensors)]
        alone = case.run({**full, "E": 1}, *own)
        for one, all_of_them in zip(alone, together, strict=True):
            assert torch.equal(one[0], all_of_them[e]), e


@pytest.mark.parametrize("name", ["adam", "sgd", "two_hot_relu", "two_hot_relu_backward"])
def test_more_members_than_a_grid_has_rows(cases, name, gpu):
    case = cases[name]
    full, tensors = case.problem(E=7, **SMALLEST[name])
    which = torch.arange(65_539) % 7
    many = case.run(full, *(t if k in SHARED.get(name, ()) else t[which] for k, t in enumerate(tensors)))
    for all_of_them, few in zip(many, case.run(full, *tensors), strict=True):
        assert torch.equal(all_of_them, few[which])


LAUNCHES = {"conv_relu_pool_backward": 2, "mlp_losses": 2, "mlp_nested": 2, "fisher_two_layer": 2, "fisher_chain": 2}


@pytest.mark.parametrize("name", sorted(KERNELS - {"mlp_epoch"}))
def test_launches(cases, name, gpu):
    """As ``docs/gpu.md`` has them, whatever the size of the stack."""
    for members in (1, 9):
        full, tensors = cases[name].problem(E=members)
        gpu.count_launches()
        cases[name].run(full, *tensors)
        assert gpu.count_launches() == LAUNCHES.get(name, 1)


def test_a_network_deeper_than_the_kernel_takes_is_refused_by_it(gpu):
    """The operation sends none there; sixteen layers are answered."""
    params = [torch.randn(2, 1, 1, 3, 3), torch.randn(2, 1), *[torch.ones(2, 1, 1), torch.zeros(2, 1)] * 15]
    inputs, labels = torch.randn(2, 3, 1, 2, 2), torch.zeros(2, 3, dtype=torch.int64)
    assert cnn_cross_entropy_(params, inputs, labels, [])[0].tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="CUDA kernel failed"):
        cnn_cross_entropy_([*params, torch.ones(2, 1, 1), torch.zeros(2, 1)], inputs, labels, [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_of_a_kind(cases, kernel_name, dtype, gpu):
    """An axis of length 0 is answered as torch would, or refused; it never is a launch without blocks."""
    case = cases[kernel_name]
    for axis in [axis for axis in case.sizes if axis not in ("mode", "weighted", "split")]:
        try:
            full, tensors = case.problem(dtype=dtype, **{axis: 0})
        except (RuntimeError, ZeroDivisionError):
            continue  # there are no such tensors
        try:
            found = case.run(full, *tensors)
        except InputError:
            continue
        try:
            wanted = case.wanted(full, *(t.double() if t.dtype == torch.float32 else t for t in tensors))
        except (RuntimeError, IndexError):
            continue  # torch has no answer
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one.double(), other.double(), rtol=1e-4, atol=1e-6, msg=f"{axis} of length 0")

"""Arguments that do not fit end in an error, and never reach a kernel as an address."""

from __future__ import annotations

import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from grokfast.errors import InputError
from grokfast.ops import (
    BoundAdam,
    LabelMode,
    _native,
    adam_step_,
    cross_entropy,
    fisher_chain,
    fisher_chain_reference,
    fisher_patches,
    metric_gram,
    mlp_cross_entropy_,
    mlp_cross_entropy_direct,
    sgd_step_,
)
from grokfast.ops.fisher_chain import CONV, FIELDS, LINEAR, MAXPOOL
from grokfast.ops.two_hot import two_hot_relu_backward

INDICES = {  # of the tensors that hold indices: how large they may be
    "two_hot_relu": {2: "P"},
    "two_hot_relu_backward": {2: "P"},
    "cross_entropy": {1: "C"},
    "mlp_cross_entropy": {4: "P", 5: "C"},
    "mlp_losses": {4: "P", 5: "C"},
    "mlp_nested": {4: "P", 5: "C"},
    "mlp_epoch": {12: "P", 13: "C"},
    "cnn_cross_entropy": {9: 3},
    "fisher_two_layer": {5: "C"},
    "fisher_chain": {9: "classes"},
}
# What is changed in place, or has a gradient that is: stored as its partners are.
IN_PLACE = {
    "adam": (1,),
    "sgd": (1,),
    "mlp_epoch": (0, 4, 8),
    "mlp_cross_entropy": range(4),
    "cnn_cross_entropy": range(8),
}
COPIED = {"adam": (0, 2, 3), "sgd": (0, 2, 3), "mlp_epoch": (*range(12), 16)}  # by the case, before the call
GIVEN = {"fisher_two_layer": {"mode": 1}, "fisher_chain": {"mode": 1}}  # with labels


def _problem(cases, name, **sizes):
    case = cases[name]
    return case, *case.problem(**GIVEN.get(name, {}), **sizes)


def _refused(case, sizes, tensors, k, value):
    changed = [*tensors]
    changed[k] = value
    with pytest.raises(InputError):
        case.run(sizes, *changed)


def test_a_tensor_on_another_device(cases, kernel_name):
    case, sizes, tensors = _problem(cases, kernel_name)
    for k, tensor in enumerate(tensors):
        _refused(case, sizes, tensors, k, tensor.to("meta"))


def test_one_cpu_tensor_among_those_of_a_gpu(cases, kernel_name):
    """No GPU is needed: tensors only say that they are on one, and nothing is computed."""
    case, sizes, tensors = _problem(cases, kernel_name)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for k, tensor in enumerate(tensors):
            there = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cuda") for t in tensors]
            there[k] = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
            with pytest.raises(InputError):
                case.run(sizes, *there)


def test_another_type(cases, kernel_name):
    case, sizes, tensors = _problem(cases, kernel_name)
    for k, tensor in enumerate(tensors):
        for dtype in (torch.float32, torch.float64, torch.float16, torch.int32, torch.int64, torch.bool):
            images = kernel_name == "cnn_cross_entropy" and k == 8
            alone = kernel_name == "cross_entropy" and k == 0 and dtype.is_floating_point and dtype.itemsize > 2
            if dtype != tensor.dtype and not alone and not (images and dtype == torch.int8):
                _refused(case, sizes, tensors, k, tensor.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.complex64])
def test_types_without_a_kernel(cases, kernel_name, dtype):
    case, sizes, tensors = _problem(cases, kernel_name)
    other = [t.to(dtype) if t.is_floating_point() else t for t in tensors]
    with pytest.raises(InputError):
        case.run(sizes, *other)


def test_one_entry_less_or_one_axis_more(cases, kernel_name):
    case, sizes, tensors = _problem(cases, kernel_name)
    free = {  # axes of their own: of a pair of tensors, what the result's shape comes from
        "fisher_linear": {(0, 3), (1, 3)},
        "fisher_patches": {(0, 3), (1, 3), (3, 0)},
        "two_hot_relu": {(2, 1)},
        "cnn_cross_entropy": {(8, 3), (8, 4)},
        "fisher_two_layer": {(5, 1)},
        "fisher_chain": {(9, 1)},
    }.get(kernel_name, set())
    if kernel_name == "conv_relu_pool":
        free = {(0, 1), (0, 3), (0, 4)}
    if kernel_name == "conv_relu_pool_backward":
        free = {(2, 3), (2, 4)}
    for k, tensor in enumerate(tensors):
        _refused(case, sizes, tensors, k, tensor.unsqueeze(0))
        _refused(case, sizes, tensors, k, tensor[0])
        for axis in range(tensor.dim()):
            if (k, axis) not in free:
                _refused(case, sizes, tensors, k, tensor.narrow(axis, 0, tensor.shape[axis] - 1))


def test_memory_that_is_gone(cases, kernel_name):
    case, sizes, tensors = _problem(cases, kernel_name)
    for k, tensor in enumerate(tensors):
        for left in (0, 8, tensor.nbytes - tensor.itemsize):
            hollow = tensor.clone()
            hollow.untyped_storage().resize_(left)
            if k in COPIED.get(kernel_name, ()):
                continue  # the case copies what a step changes; see below
            if left < hollow.nbytes:
                _refused(case, sizes, tensors, k, hollow)


def test_strided_and_expanded_tensors_answer_as_dense_ones_do(cases, kernel_name):
    case, sizes, tensors = _problem(cases, kernel_name)
    wanted = case.run(sizes, *tensors)
    for k, tensor in enumerate(tensors):
        spread = tensor.new_full((*tensor.shape, 2), 77)
        spread[..., 1] = tensor
        changed = [*tensors]
        changed[k] = spread[..., 1]
        if k in IN_PLACE.get(kernel_name, ()):
            with pytest.raises(InputError, match="strides"):
                case.run(sizes, *changed)
            continue
        for a, b in zip(case.run(sizes, *changed), wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("value", [-1, 0, 2**40, 2**63 - 1, -(2**63)])
def test_an_index_out_of_range(cases, kernel_name, value):
    for k, size in INDICES.get(kernel_name, {}).items():
        case, sizes, tensors = _problem(cases, kernel_name)
        for place in (0, -1):
            changed = tensors[k].clone()
            changed.view(-1)[place] = value or (size if isinstance(size, int) else sizes[size])
            _refused(case, sizes, tensors, k, changed)


def test_a_default_device_changes_nothing(cases, kernel_name):
    case, sizes, tensors = _problem(cases, kernel_name)
    wanted = case.run(sizes, *tensors)
    torch.set_default_device("meta")
    try:
        found = case.run(sizes, *tensors)
    finally:
        torch.set_default_device(None)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_tensor_that_is_negative_only_in_name(cases, kernel_name):
    case, sizes, tensors = _problem(cases, kernel_name)
    wanted = case.run(sizes, *tensors)
    lazy = [torch._neg_view(-t) if t.is_floating_point() and t.dtype == tensors[0].dtype else t for t in tensors]
    for a, b in zip(case.run(sizes, *lazy), wanted, strict=True):
        assert torch.equal(a, b)


def test_memory_that_begins_between_two_numbers():
    raw = torch.zeros(100, dtype=torch.uint8)
    logits = torch.frombuffer(raw.numpy()[1:97], dtype=torch.float32).view(1, 6, 4)
    with pytest.raises(InputError, match="multiple of 4 bytes"):
        cross_entropy(logits, torch.zeros(1, 6, dtype=torch.int64), False)


# Optimisers.


def _stack(dtype=torch.float64):
    params = [torch.randn(4, 5, dtype=dtype), torch.randn(4, 2, 3, dtype=dtype)]
    groups = [params, *([torch.rand_like(p) for p in params] for _ in range(3))]
    rows = [torch.rand(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.uint8)]
    return groups, rows


CONSTANTS = (1, 0.9, 0.999, 1e-8, False)


@pytest.mark.parametrize("group", range(4))
@pytest.mark.parametrize("bind", [False, True])
def test_each_tensor_of_an_optimiser(group, bind):
    def step(groups, rows):
        return BoundAdam(*groups, *rows) if bind else adam_step_(*groups, *rows, *CONSTANTS)

    bad = [lambda t: t.float(), lambda t: t.to("meta"), lambda t: t[:3], lambda t: t[:, 1:], lambda t: t[0]]
    for change in bad:
        groups, rows = _stack()
        groups[group][1] = change(groups[group][1])
        with pytest.raises(InputError):
            step(groups, rows)
    groups, rows = _stack()
    groups[group][1].untyped_storage().resize_(8)
    with pytest.raises(InputError, match="needs 192 bytes"):
        step(groups, rows)
    groups, rows = _stack()
    groups[group] = groups[(group + 1) % 4]
    with pytest.raises(InputError, match="must not share memory"):
        step(groups, rows)
    groups, rows = _stack()
    groups[group].pop()
    with pytest.raises(InputError, match="one gradient and state each"):
        step(groups, rows)


def test_no_parameter_is_not_a_step():
    _, rows = _stack()
    with pytest.raises(InputError, match="a parameter or more"):
        adam_step_([], [], [], [], *rows, *CONSTANTS)
    with pytest.raises(InputError, match="a parameter or more"):
        sgd_step_([], [], [], *rows, 0.9)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_rows_that_are_strided_or_one_number_for_all(which, name):
    def step(groups, rows):
        if name == "adam":
            adam_step_(*groups, *rows, *CONSTANTS)
        else:
            sgd_step_(*groups[:3], *rows, 0.9)
        return groups[0]

    for make in (lambda r: torch.stack([r, 1 - r], 1)[:, 0], lambda r: r[:1].expand(4)):
        groups, rows = _stack()
        again = [[t.clone() for t in group] for group in groups]
        rows[which] = make(rows[which])
        strided = step(groups, rows)
        dense = step(again, [row.contiguous() for row in rows])
        assert all(torch.equal(a, b) for a, b in zip(strided, dense, strict=True))
        with pytest.raises(InputError, match="contiguous"):
            BoundAdam(*groups, *rows)
    groups, rows = _stack()
    rows[which] = rows[which][:3]
    with pytest.raises(InputError):
        step(groups, rows)


@pytest.mark.parametrize("constants", [(0, 0.9, 0.9, 1e-8), (-1, 0.9, 0.9, 1e-8), (1, 1.0, 0.9, 0.0),
                                       (1, 0.9, 1.0, 0.0), (1, -0.1, 0.9, 0.0), (1, 0.9, torch.nan, 0.0),
                                       (1, 0.9, 0.9, -1.0)])  # fmt: skip
def test_constants_of_adam(constants):
    groups, rows = _stack()
    before = [p.clone() for p in groups[0]]
    with pytest.raises(InputError, match="step >= 1"):
        adam_step_(*groups, *rows, *constants, False)
    with pytest.raises(InputError, match="step >= 1"):
        BoundAdam(*groups, *rows)(*constants, False)
    assert all(torch.equal(a, b) for a, b in zip(groups[0], before, strict=True))


@pytest.mark.parametrize("group", range(4))
def test_bound_adam_follows_its_tensors_to_other_memory(group):
    groups, rows = _stack()
    bound = BoundAdam(*groups, *rows)
    bound(*CONSTANTS)
    again = [[t.clone() for t in other] for other in groups]
    groups[group][0].data = groups[group][0].clone()
    bound(*CONSTANTS)
    adam_step_(*again, *rows, *CONSTANTS)
    assert all(torch.equal(a, b) for mine, other in zip(groups, again, strict=True)
               for a, b in zip(mine, other, strict=True))  # fmt: skip
    groups[group][0].data = torch.zeros(4, 6, dtype=torch.float64)
    with pytest.raises(InputError, match="shape and strides"):
        bound(*CONSTANTS)
    groups[group][0].data = torch.zeros(4, 5, dtype=torch.float64)
    groups[group][0].untyped_storage().resize_(0)
    with pytest.raises(InputError, match="its storage has 0"):
        bound(*CONSTANTS)


def test_bound_adam_holds_the_memory_whose_addresses_it_has():
    """Nothing else comes to lie there unseen: a smaller tensor at the same address would be stepped past its end."""
    groups, rows = _stack()
    array = np.zeros((4, 5))
    groups[0][0].data = torch.from_numpy(array)
    bound = BoundAdam(*groups, *rows)
    alive = weakref.ref(array)
    del array
    groups[0][0].data = torch.zeros(4, 5, dtype=torch.float64)
    assert alive() is not None
    bound(*CONSTANTS)
    assert alive() is None


# Single operations.


def test_metric_gram_compares_all_of_its_lists():
    def lists():
        return [[torch.rand(3, 4), torch.rand(3, 2)] for _ in range(4)]

    for member in (lambda t: t[:2], lambda t: t.double(), lambda t: t[0]):
        checkpoints = lists()
        for values in checkpoints:
            values[1] = member(values[1])
        with pytest.raises(InputError, match="here"):
            metric_gram(*checkpoints, [])
    with pytest.raises(InputError, match="here"):
        metric_gram([], [], [], [], [])
    with pytest.raises(InputError, match="stiff must be uint8"):
        metric_gram(*lists(), [torch.zeros(3, 4, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.bool)])


def test_without_a_hidden_unit_all_gradients_are_written():
    params = [torch.zeros(2, 6, 0).transpose(1, 2), torch.zeros(2, 0), torch.zeros(2, 3, 0), torch.randn(2, 3)]
    pairs, labels = torch.zeros(2, 5, 2, dtype=torch.int64), torch.ones(2, 5, dtype=torch.int64)
    for op in (mlp_cross_entropy_, mlp_cross_entropy_direct):
        grads = [torch.full_like(p, torch.nan) for p in params]
        loss, _ = op(params, pairs, labels, grads)
        probabilities = params[3].softmax(-1)
        torch.testing.assert_close(grads[3], probabilities - torch.tensor([0.0, 1, 0]), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(loss, -probabilities[:, 1].log(), rtol=1e-5, atol=1e-6)


def test_gradients_that_do_not_fit():
    params = [torch.randn(2, 4, 6), torch.randn(2, 4), torch.randn(2, 3, 4), torch.randn(2, 3)]
    pairs, labels = torch.zeros(2, 5, 2, dtype=torch.int64), torch.zeros(2, 5, dtype=torch.int64)
    for change in (lambda g: g.double(), lambda g: g.to("meta"), lambda g: g[:1], lambda g: g.unsqueeze(0)):
        for k in range(4):
            grads = [torch.zeros_like(p) for p in params]
            grads[k] = change(grads[k])
            for op in (mlp_cross_entropy_, mlp_cross_entropy_direct):
                with pytest.raises(InputError):
                    op(params, pairs, labels, grads)


def test_two_hot_backward_checks_its_size():
    grad, pairs = torch.zeros(1, 2, 3), torch.zeros(1, 2, 2, dtype=torch.int64)
    for size in (-1, 0):
        with pytest.raises(InputError):
            two_hot_relu_backward(grad, grad, pairs, size)


def test_the_range_of_patches_does_not_wrap():
    g, x = torch.zeros(1, 1, 1, 1, 2), torch.zeros(1, 1, 1, 4)
    most = 2**63 - 1
    for base, offset in ([most, 0], [most, 1]), ([-(2**63), 0], [-1, 0]), ([0, 3], [0, 1]), ([0, -1], [0, 0]):
        with pytest.raises(InputError, match="must lie in"):
            fisher_patches(g, x, torch.tensor(base), torch.tensor(offset))


@pytest.mark.parametrize("mode", [-1, 3, 2**40])
@pytest.mark.parametrize("name", ["fisher_two_layer", "fisher_chain"])
def test_modes(cases, name, mode):
    case, sizes, tensors = _problem(cases, name)
    for given in (tensors, tensors[:-1]):
        with pytest.raises(InputError, match="mode must be one of"):
            case.run({**sizes, "mode": mode}, *given)


@pytest.mark.usefixtures("core")
def test_each_number_of_a_chain():
    """One number after another changed: refused, or another chain that makes sense and is answered rightly."""
    one = [1, 1, 1, 1, 0, 0, 1, 1]
    spec = [
        CONV, 1, 5, 4, 2, 5, 4, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1,
        MAXPOOL, 2, 5, 4, 2, 2, 2, 2, 2, 2, 2, 0, 0, 1, 1, -1, -1,
        LINEAR, 8, 1, 1, 3, 1, 1, *one, 2, 3,
    ]  # fmt: skip
    params = [torch.randn(1, *shape, dtype=torch.float64) for shape in ((2, 1, 3, 3), (2,), (3, 8), (3,))]
    x = torch.randn(6, 1, 5, 4, dtype=torch.float64)
    wanted = fisher_chain(x, params, spec, None, int(LabelMode.SOFTMAX))
    refused = 0
    for k in range(len(spec)):
        for value in (-(2**62), -2, -1, 0, 1, 2, 3, 7, 2**62):
            if value == spec[k]:
                continue
            changed = [*spec]
            changed[k] = value
            try:
                found = fisher_chain(x, params, changed, None, int(LabelMode.SOFTMAX))
            except InputError:
                refused += 1
                continue
            if (
                changed[FIELDS + 7 : FIELDS + 11] == spec[FIELDS + 7 : FIELDS + 11]
            ):  # what a linear layer says of windows
                again = wanted
            else:
                again = fisher_chain_reference(x, params, changed, None, int(LabelMode.SOFTMAX))
            for a, b in zip(found, again, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert refused > 300
    for broken in ([], spec[:-1], spec[:FIELDS] * 2):
        with pytest.raises(InputError):
            fisher_chain(x, params, broken, None, int(LabelMode.SOFTMAX))


def test_a_full_build_does_not_warn_of_kernels_that_are_torch_s_there(monkeypatch):
    def warned(cuda_built):
        monkeypatch.setattr(_native, "native", lambda: SimpleNamespace(cuda_built=cuda_built))
        _native._kernel.cache_clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert _native._kernel("fisher_chain", "cuda", torch.float32) is None
        _native._kernel.cache_clear()
        return [str(warning.message) for warning in caught]

    assert warned(True) == []
    (message,) = warned(False)
    assert "this build has no CUDA kernels" in message

"""What only matters somewhere else in the batch: NaN, infinities, ties and large numbers in each range of it."""

from __future__ import annotations

import itertools

import pytest
import torch

# Of the compiled kernels: the references are torch's operations, whose bits and NaN are torch's affair.
pytestmark = pytest.mark.usefixtures("core")

# More than two pieces of every kind that a kernel cuts its work into.
SIZES = {
    "adam": {"E": 2, "n": 17_000},
    "sgd": {"E": 2, "n": 17_000},
    "two_hot_relu": {"N": 160, "H": 40},
    "two_hot_relu_backward": {"N": 160, "H": 40},
    "cross_entropy": {"N": 20, "C": 40},
    "mlp_cross_entropy": {"N": 160, "H": 70, "C": 15},
    "mlp_losses": {"N": 160, "H": 300, "C": 20},
    "mlp_nested": {"N": 160, "H": 30, "C": 20},
    "mlp_epoch": {"N": 160, "H": 70, "C": 15, "batch": 70},
    "cnn_cross_entropy": {"N": 300, "C": 1, "side": 4},
    "conv_relu_pool": {"N": 70, "height": 6, "width": 6},
    "conv_relu_pool_backward": {"N": 70, "height": 6, "width": 6},
    "fisher_linear": {"N": 150, "O": 15, "I": 40},
    "fisher_patches": {"N": 20, "O": 20},
    "fisher_two_layer": {"N": 200, "H": 40, "C": 5},
    "fisher_chain": {"N": 70, "E": 2, "side": 4, "O": 2, "H": 2},
    "metric_gram": {"E": 2, "n": 9_000},
}
ENTRYWISE = (
    "adam", "sgd", "two_hot_relu", "two_hot_relu_backward", "cross_entropy", "fisher_linear", "fisher_patches",
    "metric_gram",
)  # fmt: skip
OF_STATUS = ("fisher_two_layer", "fisher_chain")  # a status says it, and the sums mean nothing then


def _places(tensor):
    """The first and last entries, and those in between that fall into each of four or eight ranges."""
    size = tensor.numel()
    return sorted({0, size - 1, *(min(size - 1, size * k // 8 + d) for k in range(8) for d in (0, 1))})


def _spoilt(tensors, k, place, value):
    changed = [t.clone() if t.stride()[-1:] == (1,) else t.clone(memory_format=torch.preserve_format) for t in tensors]
    index = torch.unravel_index(torch.tensor(place), changed[k].shape)
    changed[k][index] = value
    return changed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_not_finite_comes_out_where_it_went_in(cases, kernel_name, dtype):
    case = cases[kernel_name]
    sizes, tensors = case.problem(dtype=dtype, **SIZES[kernel_name])
    torch.set_num_threads(2)
    clean = case.run(sizes, *tensors)
    values = itertools.cycle([torch.nan, torch.inf, -torch.inf])
    for k, tensor in enumerate(tensors):
        if not tensor.is_floating_point() or (kernel_name == "conv_relu_pool_backward" and k == 3):
            continue  # a weight meets the zeros around the map in some ways of summing, and in others it does not
        for place in _places(tensor)[:: 3 if kernel_name in ENTRYWISE else 7]:
            changed = _spoilt(tensors, k, place, next(values))
            found = case.run(sizes, *changed)
            if kernel_name in ENTRYWISE:
                case.check(sizes, changed, found)
                continue
            wanted = case.wanted(sizes, *(t.double() if t.is_floating_point() else t for t in changed))
            if kernel_name in OF_STATUS:  # of inputs that are shared all members', of a parameter its own member's
                assert bool((found[-1][wanted[-1] != 0] != 0).all()), (k, place)
                assert k == 0 or int((found[-1] != 0).sum()) <= 1, (k, place)
                continue
            # The loss, the pooled map or the gradients.
            same = found[0].isfinite() == wanted[0].isfinite()
            assert same.all(), (k, place)
            members = wanted[0].isfinite().flatten(1).all(1) if wanted[0].dim() > 1 else wanted[0].isfinite()
            for one, before in zip(found, clean, strict=True):
                own = torch.tensor([e != place * len(tensor) // tensor.numel() for e in range(len(one))])
                assert torch.equal(one[own], before[own]), (k, place)
                if dtype.is_floating_point and one.is_floating_point() and not bool(members.all()):
                    assert not bool(one[~members].isfinite().all()) or one is not found[0], (k, place)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "name", ["cross_entropy", "mlp_cross_entropy", "mlp_losses", "mlp_nested", "cnn_cross_entropy"]
)
@pytest.mark.parametrize("how", ["ties", "large", "last"])
def test_ties_and_large_logits(cases, name, dtype, how, isa):
    case = cases[name]
    sizes, tensors = case.problem(dtype=dtype, **SIZES[name])
    for k, tensor in enumerate(tensors):
        if not tensor.is_floating_point() or (k > 3 and name == "cnn_cross_entropy" and how == "large"):
            continue
        if how == "ties":  # whole numbers, so that many logits are equal in any precision
            tensors[k] = torch.where(tensor.abs() < tensor.abs().median(), 0, tensor.sign())
        elif how == "large" and tensor.dim() > 2:
            tensors[k] = tensor * 30
    if how == "last":  # the label is the last class of all, and the first of none
        tensors[1 if name == "cross_entropy" else 9 if name == "cnn_cross_entropy" else 5].fill_(
            2 if name == "cnn_cross_entropy" else sizes["C"] - 1
        )
    if how == "ties" and name != "cross_entropy":
        found, doubled = case.run(sizes, *tensors), [t.double() if t.is_floating_point() else t for t in tensors]
        assert torch.equal(found[1], case.wanted(sizes, *doubled)[1])
        return
    case.check(sizes, tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["conv_relu_pool", "conv_relu_pool_backward"])
def test_of_equal_maxima_the_first_wins(cases, name, dtype, isa):
    case = cases[name]
    sizes, tensors = case.problem(dtype=dtype, N=20, k=1, C=1, height=6, width=6)
    if name == "conv_relu_pool":
        tensors = [tensor.sign() for tensor in tensors]
        tensors[2].zero_()
    case.check(sizes, tensors)


@pytest.mark.parametrize("value", [0.0, torch.inf, torch.nan])
@pytest.mark.parametrize("units", [(0, 64), (64, 128), (0, 128), (128, 192), (192, 256), (0, 300)])
def test_units_that_reach_no_output_and_one_that_is_never_active(cases, units, value, isa):
    """Words of 64 units in chunks of 128, the paper's pruned networks; behind a dead unit even infinity counts."""
    case = cases["mlp_losses"]
    sizes, tensors = case.problem(N=70, H=300)
    tensors[2][:, :, slice(*units)] = 0
    tensors[1][1, 299] = -1e3  # never active
    tensors[2][1, 2, 299] = value
    case.check(sizes, tensors)


@pytest.mark.parametrize("classes", [1, 2, 5, 16, 17])
def test_few_logits_of_which_one_is_not_finite(cases, classes, isa):
    case = cases["cross_entropy"]
    sizes, tensors = case.problem(C=classes, dtype=torch.float32)
    for value in (torch.nan, torch.inf, -torch.inf):
        for place in (0, classes - 1):
            changed = [tensor.clone() for tensor in tensors]
            changed[0][1, 3, place] = value
            case.check(sizes, changed)

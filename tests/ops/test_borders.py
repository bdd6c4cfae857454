"""Every kernel at the borders within it: where it begins another block, range, chunk, strip, tile or vector.

The numbers are those of the sources in ``csrc``; a vector holds 2 to 16 values. Each size is taken alone, and then a
few at random together, on each instruction set, with 1, 2 and 5 threads to the bit.
"""

from __future__ import annotations

import random

import pytest
import torch

VECTOR = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40]


def _around(*borders):
    """One below, at, and one above each, and two and a half times the last."""
    return [*(border + d for border in borders for d in (-1, 0, 1)), borders[-1] * 5 // 2]


TILES = _around(2, 4, 6, 8, 12)  # rows, outputs or classes of a register tile
BORDERS = {
    "adam": {"n": [*VECTOR, *_around(1 << 14)]},
    "sgd": {"n": [*VECTOR, *_around(1 << 14)]},
    "two_hot_relu": {"N": _around(64), "H": VECTOR},
    "two_hot_relu_backward": {"N": _around(64), "H": VECTOR},
    "cross_entropy": {"C": VECTOR, "N": [1, 2]},
    "mlp_cross_entropy": {"N": [*TILES, *_around(64)], "H": [*VECTOR, *_around(64)], "C": [*VECTOR, *TILES]},
    "mlp_losses": {"N": _around(64), "H": [1, 15, 16, 17, *_around(64, 128)], "C": [*VECTOR, *_around(64, 128)]},
    "mlp_nested": {"N": _around(8, 16, 32, 64), "H": VECTOR, "C": [*VECTOR, *_around(64)], "K": [1, 2, 9]},
    "mlp_epoch": {
        "N": [*VECTOR, *_around(64)],
        "H": [*VECTOR, *_around(64)],
        "C": [*VECTOR, *_around(64, 128)],
        "P": [1, 2, 17],
        "batch": [1, 7, 8, 29, 30, 31],
    },
    "cnn_cross_entropy": {
        "N": [*VECTOR, *_around(64, 128, 256, 384, 512)],
        "O": _around(2, 4),
        "C": _around(2, 4),
        "k": [1, 3, 5, 7],
        "side": [4, 5, 6, 7, 8, 9, 16, 17],
        "H": TILES,
    },
    "conv_relu_pool": {
        "N": [*VECTOR, *_around(8, 16, 32, 48, 64)],
        "O": _around(2, 4),
        "C": _around(2, 4),
        "k": [1, 3, 5, 7, 9],
        "height": [2, 3, 4, 5],
        "width": [2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33],
    },
    "fisher_linear": {
        "T": [1, 2, *_around(24)],
        "N": [*_around(10), 85, 86, 127, 128, 129],
        "O": [*TILES, 29],
        "I": [*VECTOR, 63, 64, 65],
    },
    "fisher_patches": {"N": _around(8), "O": [*VECTOR, 63, 64, 65], "K": [*TILES, 30], "L": [1, 9], "groups": [1, 3]},
    "fisher_two_layer": {
        "N": [*_around(2, 6, 12), *_around(96), *_around(192, 256)],
        "I": [*TILES, *_around(16), *_around(256)],
        "H": [*VECTOR, 63, 64, 65],
        "C": [1, *TILES, *_around(16), *_around(64, 128)],
        "filled": [0, 1, 3, 4, 5],
        "mode": [0, 1, 2],
        "S": [0, 1, 3],
    },
    "fisher_chain": {
        "N": [*VECTOR, *_around(64)],
        "O": [*TILES[:9]],
        "H": [*TILES[:9], 15, 16, 17],
        "classes": [2, 3, 4, 5, 9],
        "C": [1, 2, 3],
        "side": [4, 6, 8, 12],
        "mode": [0, 1, 2],
        "S": [0, 1, 3],
    },
    "metric_gram": {"n": [*VECTOR, *_around(1 << 13)], "weighted": [0, 1], "split": [0, 1]},
}  # fmt: skip
BORDERS["conv_relu_pool_backward"] = BORDERS["conv_relu_pool"]
LARGE = {"fisher_linear": [{"T": 1, "N": n} for n in _around(256)]}
# Second products of squares, at 16 vectors of samples in each of four ranges; on all vector lengths.
LARGE["fisher_chain"] = [{"N": 4 * 16 * lanes * 5 // 2 - 3, "side": 4, "O": 1, "H": 2} for lanes in (2, 4, 8, 16)]
LARGE["fisher_two_layer"] = [
    {"I": 40, "filled": filled, "mode": mode, "N": 260, "H": 35, "C": 14} for filled in (2, 99) for mode in (0, 1, 2)
]


def _answers(case, sizes, tensors):
    """With one thread; two and five give the same bits."""
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(case.run(sizes, *tensors))
    torch.set_num_threads(1)
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    return found[0]


def _sizes(name):
    axes = BORDERS[name]
    yield from ({axis: value} for axis, values in axes.items() for value in values)
    yield from LARGE.get(name, [])
    chance = random.Random(0)
    for _ in range(12):
        together = {axis: chance.choice(values) for axis, values in axes.items()}
        if torch.Size(together.values()).numel() < 3e6:
            yield together


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_borders(cases, kernel_name, dtype, isa):
    case = cases[kernel_name]
    for sizes in _sizes(kernel_name):
        full, tensors = case.problem(dtype=dtype, **sizes)
        found = _answers(case, full, tensors)
        try:
            case.check(full, tensors, found)
        except AssertionError as error:
            raise AssertionError(f"{sizes}: {error}") from error

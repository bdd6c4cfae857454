"""What is read off a pruning curve at the edges of its definition, and what every reading refuses."""

from __future__ import annotations

import pytest
import torch

from grokfast.errors import InputError
from grokfast.pruning import (
    compressibility,
    compressibility_bounds,
    compressibility_error,
    size_at_accuracy,
    size_at_drop,
)

SHARES = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
READINGS = (compressibility, compressibility_bounds, compressibility_error, size_at_accuracy, size_at_drop)


@pytest.mark.parametrize("read", READINGS)
@pytest.mark.parametrize(
    ("shares", "accuracies", "words"),
    [
        ([0.0, 0.5, 0.4, 0.8, 1.0], [1.0, 0.8, 0.5, 0.2, 0.0], "rise from 0 to 1"),
        ([0.0, 0.5, 0.5, 0.8, 1.0], [1.0, 0.8, 0.5, 0.2, 0.0], "rise from 0 to 1"),
        ([0.1, 0.2, 0.5, 0.8, 1.0], [1.0, 0.8, 0.5, 0.2, 0.0], "rise from 0 to 1"),
        ([0.0, 0.2, 0.5, 0.8, 0.9], [1.0, 0.8, 0.5, 0.2, 0.0], "rise from 0 to 1"),
        ([0.0, 0.25, 0.5, 0.75, 1.0], [1.1, 0.8, 0.5, 0.2, 0.0], "lie in"),
        ([0.0, 0.25, 0.5, 0.75, 1.0], [1.0, 0.8, 0.5, 0.2, -0.1], "lie in"),
        ([0.0, 0.5, 1.0], [1.0, 0.8, 0.5, 0.2, 0.0], "F >= 2"),
        ([0.0], [1.0], "F >= 2"),
    ],
)
def test_no_reading_takes_what_is_no_curve(read, shares, accuracies, words):
    with pytest.raises(InputError, match=words):
        read(torch.tensor(shares), torch.tensor(accuracies))


def test_an_accuracy_that_is_reached_exactly_is_reached():
    curve = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])
    assert size_at_accuracy(SHARES, curve, 0.5) == 0.5
    assert size_at_accuracy(SHARES, curve, 1.0) == 1.0
    assert size_at_drop(SHARES, curve, 0.5) == 0.5


def test_a_drop_is_relative_to_the_unpruned_accuracy():
    curve = torch.tensor([0.5, 0.375, 0.25, 0.125, 0.0])
    assert size_at_drop(SHARES, curve, 0.25) == 0.75  # down to 0.375; an absolute drop would allow 0.25
    assert size_at_drop(SHARES, curve, 0.5) == 0.5


@pytest.mark.parametrize("drop", [0.0, 1.0, -0.5, 1.5])
def test_a_drop_lies_between_nothing_and_all(drop):
    with pytest.raises(InputError, match="drop"):
        size_at_drop(SHARES, SHARES.flip(0), drop)

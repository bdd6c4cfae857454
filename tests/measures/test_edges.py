"""Definitions at their edges: a threshold reached exactly, one point, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.measures import grokking_onset, grokking_times, linear_fit, mean_interval
from grokfast.measures.grokking import plateau_from, settled


def test_a_threshold_that_is_reached_exactly_is_reached():
    train = [0.25, 0.5, 1.0, 1.0]
    found = grokking_times(train, [0.0, 0.25, 0.5, 1.0], 0.5)
    assert (found.t_train, found.t_test) == (2, 3)
    assert grokking_times(train, train, 1.0).t_test == 3


def test_one_test_epoch_is_enough_and_none_is_not():
    found = grokking_times([0.5, 1.0, 1.0], [0.7], test_epochs=[3])
    assert (found.t_train, found.t_test, found.t_grok) == (2, 3, 1)
    assert grokking_times([0.5, 1.0], [0.7, 0.8], test_epochs=[1, 2]).t_test == 2
    with pytest.raises(InputError, match=r"within 1 \.\. 3, got \[\]"):
        grokking_times([0.5, 1.0, 1.0], [], test_epochs=[])


@pytest.mark.parametrize(("epochs", "accuracy"), [([1, 2], [0.5]), ([1, 2], [0.5, math.nan]), ([[1, 2]], [[0.5, 0.6]])])
def test_a_plateau_wants_one_finite_accuracy_an_epoch(epochs, accuracy):
    with pytest.raises(InputError, match="one finite accuracy an epoch"):
        plateau_from(1, epochs, accuracy)


def test_settled_looks_up_to_nine_tenths_of_the_epochs_and_allows_a_hundredth():
    rising = [0.5] * 8 + [0.99, 1.0]
    assert settled(rising)  # at epoch 9 of 10, exactly
    assert not settled([0.5] * 8 + [0.98, 1.0])
    assert not settled([0.5] * 9 + [1.0])
    assert settled([1.0, 0.5], [9, 10])
    assert not settled([1.0, 0.5], [10, 11])  # 10 > 9.9
    assert not settled([1.0])
    for epochs, accuracy in (([1], [1.0, 1.0]), (None, []), (None, [math.inf]), (None, [[1.0]])):
        with pytest.raises(InputError, match="one finite accuracy an epoch"):
            settled(accuracy, epochs)


def test_onsets_of_one_and_of_unsorted_scales():
    assert grokking_onset([3.0], [True]) == 3
    assert math.isnan(grokking_onset([3.0], [False]))
    assert grokking_onset([4, 1, 3, 2], [True, False, True, False]) == 3
    for w0, groks in (([1.0, 2.0], [True]), ([], []), ([[1.0]], [[True]])):
        with pytest.raises(InputError, match="one label per w0"):
            grokking_onset(w0, groks)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_value_that_is_not_finite_spoils_a_fit_and_a_mean(bad):
    for x, y in (([0, 1, bad, 3], [1, 2, 3, 4]), ([0, 1, 2, 3], [1, bad, 3, 4])):
        with pytest.raises(InputError, match="three finite points"):
            linear_fit(x, y)
    with pytest.raises(InputError, match="at least one finite"):
        mean_interval([1.0, 2.0, bad])


def test_three_points_make_a_fit_and_two_values_an_interval():
    assert linear_fit([0, 1, 2], [0, 1, 3]).slope.mean == pytest.approx(1.5)
    assert np.isfinite(mean_interval([1.0, 2.0]).low)
    assert f"{mean_interval([1.0, 2.0])}" == "1.5 [-4.85, 7.85]"
    for bad in ([[0, 1, 2]], [0, 1]):
        with pytest.raises(InputError, match="three finite points"):
            linear_fit(bad, bad)
    with pytest.raises(InputError, match="at least one finite"):
        mean_interval([[1.0, 2.0]])
    for confidence in (0.0, 1.0):
        for call in (lambda c: mean_interval([1, 2], c), lambda c: linear_fit([0, 1, 2], [0, 1, 3], c)):
            with pytest.raises(InputError, match="confidence"):
                call(confidence)

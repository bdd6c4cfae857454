from __future__ import annotations

import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.measures import grokking_onset, grokking_times, plateau


def test_times_count_from_one_and_use_each_own_maximum():
    train = [0.1, 0.5, 0.94, 0.96, 1.0, 1.0]
    test = [0.0, 0.0, 0.001, 0.1, 0.75, 0.8]
    times = grokking_times(train, test)
    assert (times.t_train, times.t_test, times.t_grok) == (4, 6, 2)
    assert not times.groks
    assert times.ratio == 0.5
    assert times.plateau_end is None
    assert grokking_times(train, test, 0.9).t_test == 5


def test_groks_only_if_the_delay_exceeds_the_train_time():
    train = [0.0, 1.0, 1.0, 1.0, 1.0]
    assert not grokking_times(train, [0, 0, 0, 1, 1]).groks  # delay 2 = t_train 2
    assert grokking_times(train, [0, 0, 0, 0, 1]).groks


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ([1.0], [1.0, 1.0], "equally long"),
        ([], [], "equally long"),
        ([0.0, 0.0], [0.0, 1.0], "never rises"),
        ([0.1, np.nan], [0.1, 0.2], "finite"),
    ],
)
def test_rejects(train, test, words):
    with pytest.raises(InputError, match=words):
        grokking_times(train, test)


def test_onset_is_where_all_larger_scales_grok():
    assert grokking_onset([10, 0.1, 1, 2], [True, True, False, True]) == 2
    assert grokking_onset([1, 2], [True, True]) == 1
    assert np.isnan(grokking_onset([1, 2], [True, False]))


def test_times_among_the_epochs_that_were_tested():
    train = [0.1, 0.99, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = grokking_times(train, [0.0, 0.5, 1.0], test_epochs=[2, 4, 7])
    assert (found.t_train, found.t_test, found.plateau_end) == (2, 7, 2)
    for epochs in ([0, 4, 7], [2, 2, 7], [2, 4, 8], [2, 4]):
        with pytest.raises(InputError, match="expected"):
            grokking_times(train, [0.0, 0.5, 1.0], test_epochs=epochs)


def test_plateau_lasts_until_test_accuracy_leaves_its_level_for_good():
    train = [0.5, 0.8, 1, 1, 1, 1, 1, 1, 1, 1]
    test = [0.5, 0.6, 0.8, 0.81, 0.79, 0.86, 0.8, 0.9, 0.95, 1]
    assert plateau(train, test) == (3, 7)  # 0.86 was above 0.8 + 0.25 * 0.2 once, but not for good
    assert plateau(train, test, share=0.6) == (3, 8)
    assert plateau(train, test[4:], test_epochs=range(5, 11)) == (3, 7)
    assert plateau([1, 1, 1], [0.5, 1, 1]) == (1, 1)
    assert plateau([0, 1, 1], [1, 1, 0.9]) == (2, 2)
    assert plateau([0, 0, 1], [0.5, 1], test_epochs=[1, 2]) == (3, 3)

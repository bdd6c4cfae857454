"""Whether a run had finished, what the end of a plateau is, and that unfinished times are marked and left out."""

import matplotlib
import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.measures import grokking_times, plateau, settled

matplotlib.use("Agg")


def test_settled_before_the_last_tenth():
    rising = np.linspace(0.1, 1, 100)
    assert not settled(rising)  # at epoch 90: 0.909 of 1
    done = np.minimum(2 * rising, 1)
    assert settled(done)
    assert settled(np.ones(100))


@pytest.mark.parametrize(("at_90", "expected"), [(0.99, True), (0.9899, False)])
def test_the_hundredth_is_exact_and_epoch_ninety_of_a_hundred_counts(at_90, expected):
    accuracy = np.full(100, 0.5)
    accuracy[89] = at_90
    accuracy[99] = 1.0
    assert settled(accuracy) is expected
    late = np.full(100, 0.5)
    late[90] = 1.0  # epoch 91 lies in the last tenth
    assert not settled(late)


def test_sparse_looks_are_judged_by_their_epochs():
    assert settled([0.2, 1.0, 1.0], [10, 90, 100])
    assert not settled([0.2, 1.0, 1.0], [10, 91, 100])
    assert not settled([1.0], [100])  # one look at the end says nothing of before


@pytest.mark.parametrize("accuracy", [[], [np.nan, 1], [[1.0, 1.0]]])
def test_what_is_no_series_is_refused(accuracy):
    with pytest.raises(InputError, match="expected one finite accuracy an epoch"):
        settled(accuracy)


def grokking(rise=40):
    train = np.minimum(np.arange(1, 101) / 5, 1)
    test = np.where(np.arange(1, 101) < rise, 0.5, 1.0)
    return train, test


def test_the_end_of_the_plateau_is_that_of_the_plateau_and_none_without():
    train, test = grokking()
    times = grokking_times(train, test)
    assert times.groks
    assert times.plateau_end == plateau(train, test)[1] == 39
    at_once = grokking_times(train, train)
    assert not at_once.groks
    assert at_once.plateau_end is None


def test_chance_is_the_share_of_the_most_frequent_test_label():
    from grokfast import RunConfig
    from grokfast.tasks import SparseParity
    from grokfast.training import train_stack

    config = RunConfig(task=SparseParity(n=6, k=2, samples=40, hidden=(4,)), epochs=1, w0=1.0)
    counts = np.bincount(config.task.split(0).test_labels.numpy())
    assert train_stack([config])[0].record["summary"]["chance"] == counts.max() / counts.sum()

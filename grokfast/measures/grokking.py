"""When a run groks: definitions 1 and 2 of the paper, and the end of the plateau."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokfast._checks import check_fraction
from grokfast._edge import edge
from grokfast.errors import InputError


@dataclass(frozen=True)
class GrokkingTimes:
    """Times in epochs, counted from 1.

    Attributes:
        t_train: First epoch with train accuracy of at least ``threshold`` times its maximum over the run.
        t_test: The same for test accuracy.
        plateau_end: Last epoch of the plateau (:func:`plateau`); None for a run that does not grok and so has none.
        threshold: The share of the maximum.
    """

    t_train: int
    t_test: int
    plateau_end: int | None
    threshold: float

    @property
    def t_grok(self) -> int:
        """The delay t_test - t_train, in epochs (definition 1)."""
        return self.t_test - self.t_train

    @property
    def groks(self) -> bool:
        """Whether t_grok > t_train (definition 2); otherwise the run learns steadily."""
        return self.t_grok > self.t_train

    @property
    def ratio(self) -> float:
        """t_grok / t_train, which exceeds 1 for a run that groks."""
        return self.t_grok / self.t_train


@edge
def grokking_times(
    train_accuracy: ArrayLike,
    test_accuracy: ArrayLike,
    threshold: float = 0.95,
    *,
    test_epochs: ArrayLike | None = None,
) -> GrokkingTimes:
    r"""Learning times of one run from its accuracies.

    .. math:: t = \min \{ e : a(e) \ge \theta \max_{e'} a(e') \}

    Args:
        train_accuracy: ``[epochs]`` in [0, 1], the first entry being epoch 1. The training loop's running accuracy
            by default; a full pass after the epoch sees t_train up to one epoch earlier.
        test_accuracy: ``[epochs]``, on the whole test split after each epoch.
        threshold: 0.95 in the paper's text, 0.9 in its authors' geometry script.
        test_epochs: Epochs, rising, that ``test_accuracy`` belongs to, if not to all; t_test and the end of the
            plateau are among them.

    Returns:
        The times.

    Raises:
        InputError: If lengths differ, a series is empty, never rises above zero or is not finite.

    Source:
        arXiv 2502.01739, definitions 1 and 2.
    """
    train, test, tested = _series(train_accuracy, test_accuracy, threshold, test_epochs)
    t_train = _first(train >= threshold * train.max()) + 1
    t_test = int(tested[_first(test >= threshold * test.max())])
    times = GrokkingTimes(t_train, t_test, None, threshold)
    return replace(times, plateau_end=plateau_from(t_train, tested, test)) if times.groks else times


@edge
def settled(accuracy: ArrayLike, epochs: ArrayLike | None = None) -> bool:
    r"""Whether an accuracy had reached its maximum before the last tenth of the epochs.

    .. math:: \max_{e \le 0.9 E} a(e) \ge 0.99 \max_e a(e)

    The hundredth allows for an accuracy that fluctuates about its end. Learning times compare an accuracy with its
    maximum: those of a run that has not settled are too early, and only lower bounds.

    Args:
        accuracy: ``[n]``, finite.
        epochs: Rising epochs it was taken at; 1 to n by default.

    Raises:
        InputError: If shapes differ, there is no entry, or one is not finite.
    """
    values = np.asarray(accuracy, dtype=np.float64)
    at = np.arange(1, values.size + 1) if epochs is None else _whole(epochs)
    if values.ndim != 1 or at.shape != values.shape or values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"expected one finite accuracy an epoch, got shapes {at.shape} and {values.shape}")
    before = values[at <= 0.9 * at[-1]]
    return bool(before.size) and bool(before.max() >= 0.99 * values.max())


@edge
def plateau(
    train_accuracy: ArrayLike,
    test_accuracy: ArrayLike,
    threshold: float = 0.95,
    *,
    share: float = 0.25,
    test_epochs: ArrayLike | None = None,
) -> tuple[int, int]:
    """The plateau of a run that groks: from t_train until test accuracy leaves the level it has there.

    It ends at the first epoch from which on test accuracy stays above that level by ``share`` of the whole rise to
    its maximum. Unlike the authors' script, which waits for 1 % of the maximum, this also works where chance is far
    above 1 %, as with two classes.

    Args:
        train_accuracy: As for :func:`grokking_times`.
        test_accuracy: As for :func:`grokking_times`.
        threshold: Of t_train.
        share: In (0, 1).
        test_epochs: As for :func:`grokking_times`.

    Returns:
        First and last epoch, the last not before the first.
    """
    train, test, tested = _series(train_accuracy, test_accuracy, threshold, test_epochs)
    start = _first(train >= threshold * train.max()) + 1
    return start, plateau_from(start, tested, test, share=share)


@edge
def plateau_from(t_train: int, test_epochs: ArrayLike, test_accuracy: ArrayLike, *, share: float = 0.25) -> int:
    """The last epoch of the plateau, as :func:`plateau`, where t_train is known.

    Args:
        t_train: The first epoch of it.
        test_epochs: ``[n]``, rising.
        test_accuracy: ``[n]``, finite.
        share: In (0, 1).

    Raises:
        InputError: If shapes differ or an accuracy is not finite.
    """
    check_fraction("share", share)
    tested, test = _whole(test_epochs), np.asarray(test_accuracy, dtype=np.float64)
    if tested.ndim != 1 or tested.shape != test.shape or not np.isfinite(test).all():
        raise InputError(f"expected one finite accuracy an epoch, got shapes {tested.shape} and {test.shape}")
    after = test[tested >= t_train]
    if after.size == 0:
        return t_train
    left = after > after[0] + share * (test.max() - after[0])
    inside = np.flatnonzero(~left)
    last = inside[-1] if left.any() and inside.size else 0
    return max(t_train, int(tested[tested >= t_train][last]))


def _series(
    train_accuracy: ArrayLike, test_accuracy: ArrayLike, threshold: float, test_epochs: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Both accuracies and the epochs of the second, checked."""
    check_fraction("threshold", threshold, closed=True)
    train, test = (np.asarray(series, dtype=np.float64) for series in (train_accuracy, test_accuracy))
    if test_epochs is None:
        tested = np.arange(1, train.size + 1)
    else:
        tested = _whole(test_epochs)
        if tested.ndim != 1 or tested.size == 0 or (np.diff(tested, prepend=0) < 1).any() or tested[-1] > train.size:
            raise InputError(f"expected rising test epochs within 1 .. {train.size}, got {tested.tolist()[:10]}")
    if train.ndim != 1 or test.shape != tested.shape or train.size == 0:
        raise InputError(f"expected two equally long series, got shapes {train.shape} and {test.shape}")
    for name, series in (("train", train), ("test", test)):
        if not np.isfinite(series).all():
            raise InputError(
                f"{name} accuracy must be finite, got {int((~np.isfinite(series)).sum())} values that are not"
            )
        if not series.max() > 0:
            raise InputError(f"{name} accuracy never rises above zero, so no learning time is defined")
    return train, test, tested


def _first(reached: np.ndarray) -> int:
    return int(np.argmax(reached))


def _whole(epochs: ArrayLike) -> NDArray[np.int64]:
    """Epochs as integers."""
    given = np.asarray(epochs)
    real = given.astype(np.float64)  # bounds do not fit into narrow types
    if not (np.isfinite(real) & (np.abs(real) < 2**62) & (real == np.trunc(real))).all():
        raise InputError(f"epochs must be whole numbers below 2^62, got {given.ravel()[:5].tolist()}")
    return given.astype(np.int64)

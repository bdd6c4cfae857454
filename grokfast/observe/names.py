"""What every run has: the columns of its record and history that no measure may be called."""

from __future__ import annotations

from grokfast.measures import Column, Kind
from grokfast.tasks.reserved import RECORD

METRICS = (
    Column("train_loss", "mean loss over the epoch's batches, while the weights change", "nat", "train loss"),
    Column("train_accuracy", "share of right predictions over the epoch's batches", label="train accuracy"),
    Column("test_loss", "mean loss on the test split after the epoch", "nat", "test loss"),
    Column("test_accuracy", "share of right predictions on the test split after the epoch", label="test accuracy"),
)
"""The history of every run."""

FULL_TRAIN = (
    Column("train_loss_full", "mean loss on the whole train split after the epoch", "nat", "train loss (full pass)"),
    Column("train_accuracy_full", "share of right predictions on the whole train split after the epoch"),
)
"""With ``train_metrics="full"``."""

_TIMES = {
    "t_train": ("first epoch at which train accuracy reaches {share} of its maximum", "epochs"),
    "t_test": ("first epoch at which test accuracy reaches {share} of its maximum", "epochs"),
    "t_grok": ("t_test{suffix} - t_train{suffix}", "epochs"),
    "groks": ("whether t_grok{suffix} > t_train{suffix}", ""),
}

THRESHOLDS = {"": 0.95, "_90": 0.9}
"""Suffix of the grokking times in the summary, and the share of the maximum they are taken at."""

TIMES = (
    *(
        Column(f"{name}{suffix}", text.format(share=share, suffix=suffix), unit, kind=Kind.END)
        for suffix, share in THRESHOLDS.items()
        for name, (text, unit) in _TIMES.items()
    ),
    Column(
        "plateau_end",
        "last epoch of the plateau of a run that groks, before test accuracy leaves its level at t_train",
        "epochs",
        kind=Kind.END,
    ),
    Column(
        "chance",
        "share of the most frequent label of the test split: the accuracy of a constant guess",
        kind=Kind.END,
    ),
    Column(
        "settled",
        "whether train and test accuracy came within 1 % of their maximum before the last tenth of the epochs; the "
        "learning times of a run that did not are lower bounds",
        kind=Kind.END,
    ),
)
"""Learning times, in the summary."""


def _ends(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(
        Column(f"end_{column.name}", f"{column.meaning}, last epoch", column.unit, kind=Kind.END) for column in columns
    )


ENDS = _ends(METRICS)
"""The metrics at the end, in the summary."""

FULL_ENDS = _ends(FULL_TRAIN)
"""With ``train_metrics="full"``."""

FULL_TIMES = tuple(
    Column(f"{column.name}_full", f"{column.meaning}, train accuracy on the whole split", column.unit, kind=Kind.END)
    for column in TIMES
    if column.name.startswith(("t_train", "t_grok", "groks"))
)
"""With ``train_metrics="full"``."""

_GROUPS = (METRICS, FULL_TRAIN, TIMES, ENDS, FULL_ENDS, FULL_TIMES)

RESERVED = frozenset({*RECORD, "task", "test_looks", "order_generator"}) | {
    column.name for group in _GROUPS for column in group
}
"""Names that are taken in every run."""

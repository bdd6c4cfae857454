"""Names that every run has: a task's fields become columns beside them and must not hide them."""

from __future__ import annotations

SETTINGS = [
    "task",
    "w0",
    "seed",
    "epochs",
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "beta1",
    "beta2",
    "eps",
    "momentum",
    "reshuffle",
    "warmup_steps",
    "rate_decay",
    "rate_end",
    "hooks",
    "train_metrics",
    "precision",
    "checkpoint_schedule",
    "feature_schedule",
    "compressibility_schedule",
    "test_schedule",
    "geometry",
    "geometry_schedule",
    "geometry_step",
    "geometry_stiff",
    "observe",
]
"""The fields of a run's configuration."""

RECORD = [
    "name",
    "schema",
    "key",
    "family",
    "task_class",
    "title",
    "config",
    "looks",
    "status",
    "diverged_epoch",
    "reason",
    "summary",
    "columns",
    "problems",
    "parent",
    "seconds",
    "stacked_with",
    "host",
    "versions",
    "epoch",
    "regime",
    "settled",
    "engine",
]
"""What a run's record and history have besides; no measure may be called so either."""

_MEASURED = ("plateau_end", "compressibility", "size_at_5_percent_drop", "weight_norm")
_STEMS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "t_train", "t_test", "t_grok", "groks")
_TAKEN = frozenset(name.casefold() for name in (*SETTINGS, *RECORD, *_MEASURED))


def is_reserved(name: str) -> bool:
    """Whether a name is taken, by case too, in every run."""
    lower = name.casefold()
    stem = lower.removeprefix("end_")
    metric = any(stem == taken or stem.startswith(f"{taken}_") for taken in _STEMS)
    return metric or lower in _TAKEN

"""Schedules: at which epochs an observer looks or a checkpoint is kept."""

from __future__ import annotations

import math

from grokfast.errors import ConfigError

_FORMS = "'every:N', 'log:N', 'at:E1+E2+...', 'last' or 'never'"


def schedule_epochs(spec: str, epochs: int) -> frozenset[int]:
    """The epochs, counted from 1, that a schedule names in a run of ``epochs``.

    Args:
        spec: ``every:N`` (N, 2N, ... and the last), ``log:N`` (about N epochs, logarithmically spaced from 1 to the
            last), ``at:1+10+100`` (these), ``last`` or ``never``; or several of these, joined by commas.
        epochs: Length of the run.

    Returns:
        Epochs in ``1 .. epochs``.

    Raises:
        ConfigError: If the form is unknown, a number is missing, or a listed epoch lies outside the run.
    """
    if "," in spec:
        return frozenset().union(*(schedule_epochs(part, epochs) for part in spec.split(",")))
    kind, _, rest = spec.partition(":")
    if spec == "never":
        return frozenset()
    if spec == "last":
        return frozenset({epochs})
    try:
        numbers = [int(part) for part in rest.split("+")]
    except ValueError:
        raise ConfigError(f"a schedule must be {_FORMS}, got {spec!r}") from None
    if kind == "at":
        outside = [number for number in numbers if not 1 <= number <= epochs]
        if outside:
            raise ConfigError(f"schedule {spec!r} names epochs outside 1 .. {epochs}: {outside}")
        return frozenset(numbers)
    if kind not in ("every", "log") or len(numbers) != 1 or numbers[0] < 1:
        raise ConfigError(f"a schedule must be {_FORMS} with N >= 1, got {spec!r}")
    count = numbers[0]
    if kind == "every":
        return frozenset(range(count, epochs + 1, count)) | {epochs}
    top = math.log(epochs)
    return frozenset(round(math.exp(top * k / max(1, count - 1))) for k in range(count)) | {epochs}

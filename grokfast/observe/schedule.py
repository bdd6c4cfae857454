"""Schedules: at which epochs a measure looks, a test pass is made or a checkpoint is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError

_FORMS = "'every:N', 'log:N', 'at:E1+E2+...', 'last' or 'never'"
_MOST = 10_000_000  # epochs that one schedule may name


def schedule_epochs(spec: str, epochs: int) -> frozenset[int]:
    """The epochs, counted from 1, that a schedule names in a run of ``epochs``.

    Args:
        spec: ``every:N`` (N, 2N, ... and the last), ``log:N`` (about N epochs, logarithmically spaced from 1 to the
            last), ``at:1+10+100`` (these), ``last`` or ``never``; several, joined by commas, name all their epochs.
        epochs: Length of the run.

    Returns:
        Epochs in ``1 .. epochs``.

    Raises:
        ConfigError: If the form is unknown, a number is missing, a listed epoch lies outside the run, or it names
            more than ten million epochs.
    """
    return frozenset().union(*(_epochs(kind, numbers, epochs) for kind, numbers in _parts(spec, epochs)))


def check_schedule(spec: str, epochs: int) -> None:
    """Raise what :func:`schedule_epochs` would raise, without listing the epochs."""
    for kind, numbers in _parts(spec, epochs):
        if kind == "every" and epochs // numbers[0] > _MOST:
            raise ConfigError(f"schedule {spec!r} names {epochs // numbers[0]} of {epochs} epochs, {_MOST} at most")


def canonical_schedule(spec: str, epochs: int) -> str:
    """One spelling of a schedule: no leading zeros, listed epochs rising in one list, parts sorted and named once.

    What names the last epoch alone is ``last``, which is left out beside what always names it.

    Args:
        spec: As :func:`schedule_epochs` takes it.
        epochs: Length of the run.

    Raises:
        ConfigError: As there.
    """
    parts: set[str] = set()
    listed: set[int] = set()
    for kind, numbers in _parts(spec, epochs):
        if kind == "at":
            listed |= set(numbers)
        elif kind == "every" and numbers[0] >= epochs:
            parts.add("last")
        elif kind != "never":
            parts.add(_spelled(kind, numbers))
    named = any(part.startswith(("every", "log")) for part in parts)
    if named or "last" in parts or listed == {epochs}:
        listed.discard(epochs)
        parts = parts - {"last"} if named else {"last"}
    if listed:
        parts.add(_spelled("at", sorted(listed)))
    return ",".join(sorted(parts)) or "never"


def union(specs: Iterable[str]) -> str:
    """The schedule that names all epochs of several."""
    return ",".join(dict.fromkeys(part for spec in specs for part in spec.split(","))) or "never"


def covers(spec: str, wanted: str, epochs: int) -> bool:
    """Whether a schedule names every epoch that another does."""
    if canonical_schedule(spec, epochs) == canonical_schedule(wanted, epochs):
        return True
    return schedule_epochs(wanted, epochs) <= schedule_epochs(spec, epochs)


def _parts(spec: str, epochs: int) -> list[tuple[str, list[int]]]:
    if not isinstance(spec, str):
        raise ConfigError(f"a schedule must be text: {_FORMS}, got {spec!r}")
    check_at_least("epochs", epochs, 1, error=ConfigError)
    return [_parsed(part, epochs) for part in spec.split(",")]


def _parsed(spec: str, epochs: int) -> tuple[str, list[int]]:
    kind, colon, rest = spec.strip().partition(":")
    if kind in ("never", "last") and not colon:
        return kind, []
    words = rest.split("+")
    # Digits alone: int() would take signs, spaces and underscores too; 18 are more than any run has epochs.
    if not colon or not all(word.isascii() and word.isdigit() and len(word.lstrip("0")) <= 18 for word in words):
        raise ConfigError(f"a schedule must be {_FORMS}, got {spec[:80]!r}")
    numbers = [int(word) for word in words]
    if kind == "at":
        outside = [number for number in numbers if not 1 <= number <= epochs]
        if outside:
            raise ConfigError(f"schedule {spec[:80]!r} names epochs outside 1 .. {epochs}: {outside[:5]}")
        return kind, sorted(set(numbers))
    if kind not in ("every", "log") or len(numbers) != 1 or numbers[0] < 1:
        raise ConfigError(f"a schedule must be {_FORMS} with N >= 1, got {spec[:80]!r}")
    return kind, numbers


def _spelled(kind: str, numbers: list[int]) -> str:
    return f"{kind}:{'+'.join(map(str, numbers))}" if numbers else kind


def _epochs(kind: str, numbers: list[int], epochs: int) -> frozenset[int]:
    if kind == "never":
        return frozenset()
    if kind == "last":
        return frozenset({epochs})
    if kind == "at":
        return frozenset(numbers)
    count = numbers[0]
    if kind == "log" and count < epochs * 20:
        if count > _MOST:
            raise ConfigError(f"schedule 'log:{count}' names up to {count} epochs, {_MOST} at most")
        top = math.log(epochs)
        points = (round(math.exp(top * k / max(1, count - 1))) for k in range(max(1, count - 1)))
        return frozenset(points) | {epochs}
    # So many points name every epoch that logarithms reach; of a short run that is all of them.
    step = 1 if kind == "log" else count
    if epochs // step > _MOST:
        raise ConfigError(f"schedule '{kind}:{count}' names {epochs // step} of {epochs} epochs, {_MOST} at most")
    return frozenset(range(step, epochs + 1, step)) | {epochs}

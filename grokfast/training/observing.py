"""The looks that a configuration asks for, as observers."""

from __future__ import annotations

from dataclasses import dataclass

from grokfast.observe import COMPRESSIBILITY, FEATURES, Measure, Observer, measure_name, observer_of, schedule_epochs
from grokfast.training.config import RunConfig


@dataclass(frozen=True)
class BeforeTheEnd(Observer):
    """An observer that leaves the last epoch out: the end model is measured by itself, with its arrays."""

    def epochs(self, total: int) -> frozenset[int]:
        """The epochs at which it looks in a run of ``total``."""
        return schedule_epochs(self.schedule, total) - {total}


def built_in_observers(config: RunConfig) -> list[Observer]:
    """Features and compressibility on their schedules."""
    return [
        BeforeTheEnd(FEATURES, config.feature_schedule),
        BeforeTheEnd(COMPRESSIBILITY, config.compressibility_schedule),
    ]


def asked_observers(config: RunConfig) -> list[Observer]:
    """The measures that the configuration names, each taken at the last epoch too."""
    return [_with_end(observer_of(text)) for text in config.observe]


def _with_end(observer: Observer) -> Observer:
    return Observer(observer.measure, f"{observer.schedule},last")


def measure_of(observer: Observer) -> tuple[str, Measure | None]:
    """An observer's name, and its measure if it is one and no plain function."""
    found: object = observer.measure
    return measure_name(found), found if isinstance(found, Measure) else None

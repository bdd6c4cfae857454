"""The looks at an end model: numbers for the summary, arrays kept beside the run, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from grokfast.measures import Column
from grokfast.observe.protocol import HasArrays, Measure
from grokfast.observe.snapshot import Dated, Seen, Snapshot
from grokfast.tasks import Task


@runtime_checkable
class HasEnd(Protocol):
    """A measure whose look at the end model gives more than its looks on the way."""

    def end(self, snapshot: Snapshot) -> tuple[Seen, Mapping[str, Tensor]]:
        """Numbers ``[E]`` and arrays ``[E, ...]`` by column."""
        ...


@dataclass
class Ends:
    """What was seen of a stack's end models.

    Attributes:
        scalars: ``[E]`` by column.
        arrays: ``[E, ...]`` by column.
        columns: What each means.
        looks: Those of the scalars that belong into the history too.
    """

    scalars: dict[str, Tensor] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    columns: list[tuple[str, Column]] = field(default_factory=list)

    def add(self, measure: Measure, snapshot: Snapshot) -> None:
        """Take one measure of the end models."""
        seen: Seen
        arrays: Mapping[str, Tensor] = {}
        if isinstance(measure, HasEnd):
            seen, arrays = measure.end(snapshot)
        else:
            seen = measure(snapshot)
            if isinstance(measure, HasArrays):
                arrays = measure.arrays(snapshot)
        self.scalars |= {name: value.values if isinstance(value, Dated) else value for name, value in seen.items()}
        self.arrays |= arrays
        self.columns += describe(measure, snapshot.task)


def describe(measure: Measure, task: Task) -> list[tuple[str, Column]]:
    """The columns of a measure for a task, each with the measure's name."""
    return [(measure.name, column) for column in measure.columns(task)]

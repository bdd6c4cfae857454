"""``Measure``: the one way to measure anything, live, at the end, on stored models and checkpoints.

A measure of one's own is a function of a :class:`Snapshot` with its columns declared::

    @measure(columns=[Column("effective_rank", "exp of the entropy of the first matrix's singular values")])
    def effective_rank(snapshot):
        values = torch.linalg.svdvals(snapshot.params["0.weight"].double())
        shares = values / values.sum(-1, keepdim=True)
        return {"effective_rank": torch.special.entr(shares).sum(-1).exp()}
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from grokfast._checks import check_non_negative, parse_choice
from grokfast.errors import ConfigError
from grokfast.measures import Column
from grokfast.observe.schedule import schedule_epochs
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import Task


class Need(StrEnum):
    """What a measure must be given."""

    PARAMETERS = "parameters"
    """The stacked parameters."""
    PREACTIVATIONS = "pre-activations"
    """A task that shows what its neurons receive."""
    DATA = "data"
    """The members' data."""
    FISHER = "fisher"
    """A Fisher diagonal, which it computes itself: one look is dear."""
    PAST = "past"
    """Other epochs of the same training: it cannot be taken of a stored end model."""
    TWO_RUNS = "two runs"
    """Two snapshots: a comparison of two runs."""


@runtime_checkable
class Measure(Protocol):
    """Something measured of a stack of networks."""

    name: str
    """As it is asked for; letters, digits and underscores."""

    needs: frozenset[Need]
    """What it must be given."""

    cost: float
    """Of one look, in passes over the test data, roughly."""

    def columns(self, task: Task) -> Sequence[Column]:
        """What it gives for this task: numbers a look, and arrays of the end model."""
        ...

    def __call__(self, snapshot: Snapshot, /) -> Seen:
        """One look: ``[E]`` by column. One that needs two runs takes two snapshots."""
        ...


@runtime_checkable
class HasArrays(Protocol):
    """A measure that keeps arrays of the end model besides."""

    def arrays(self, snapshot: Snapshot) -> Mapping[str, Tensor]:
        """``[E, ...]`` by column."""
        ...


@runtime_checkable
class Closes(Protocol):
    """A measure that holds files or connections: it is closed when its stack ends, however that is."""

    def close(self) -> None:
        """Let go of them; a later look may open them again."""
        ...


@runtime_checkable
class LooksAround(Protocol):
    """A measure that needs to see other epochs than those it is asked about."""

    def epochs(self, points: frozenset[int], total: int) -> frozenset[int]:
        """When it must be called, of ``1 .. total``, to measure at ``points``."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A measure with a memory between its looks, which must survive a restart."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """The memory, as tensors by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up a memory that :meth:`state_dict` gave."""
        ...


@dataclass(frozen=True)
class Observer:
    """A measure and when it is taken.

    Args:
        measure: A :class:`Measure`, or any function of a :class:`Snapshot` that returns ``[E]`` tensors by column.
        schedule: As in :func:`schedule_epochs`.
    """

    measure: Callable[[Snapshot], Seen]
    schedule: str

    def epochs(self, total: int) -> frozenset[int]:
        """The epochs at which it looks in a run of ``total``."""
        points = schedule_epochs(self.schedule, total)
        measure: object = self.measure
        return measure.epochs(points, total) if isinstance(measure, LooksAround) else points


class FunctionMeasure:
    """A function as a measure; :func:`measure` makes it.

    Args:
        function: Takes a snapshot, or two where it needs two runs.
        columns: What it gives.
        name: The function's if empty.
        needs: What it must be given.
        cost: Of one look, in passes over the test data.
        version: Of the numbers that it gives: kept ones of another are measured again. If empty, the function's
            source text stands for it, so that an edited function measures again; what it calls is not seen.

    Raises:
        ConfigError: If no column is declared, or a name has another form.
    """

    def __init__(
        self,
        function: Callable[..., Seen],
        columns: Sequence[Column],
        *,
        name: str = "",
        needs: Iterable[Need | str] = (Need.PARAMETERS,),
        cost: float = 1.0,
        version: str = "",
    ) -> None:
        if not columns:
            raise ConfigError(f"measure {name or function.__name__} must declare its columns, got none")
        wrong = [column for column in columns if not isinstance(column, Column)]
        if wrong:
            raise ConfigError(f"the columns of a measure must be Column(...), got {wrong[0]!r}")
        check_non_negative("cost", cost, error=ConfigError)
        self.function = function
        self.needs = frozenset(parse_choice("needs", need, Need, error=ConfigError) for need in needs)
        self.name = checked_name(name or function.__name__)
        self.cost, self.version = float(cost), version or _text_digest(function)
        self._columns = tuple(columns)
        self.__doc__ = function.__doc__
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__

    def columns(self, task: Task) -> Sequence[Column]:
        """The declared columns."""
        return self._columns

    def __call__(self, *snapshots: Snapshot) -> Seen:
        """One look."""
        return self.function(*snapshots)

    def __repr__(self) -> str:
        return f"<measure {self.name}>"

    def __reduce__(self) -> Any:
        # By reference, as functions are: where the name leads to the function itself, pickle takes that.
        return (_found, (self.__module__, self.__qualname__))


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def checked_name(name: object) -> str:
    """The name of a measure, which becomes part of file names and references.

    Raises:
        ConfigError: If it is not made of letters, digits and underscores, beginning with a letter.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            "a measure's name must be letters, digits and underscores and begin with a letter (give name=...), "
            f"got {name!r}"
        )
    return name


def _text_digest(function: Callable[..., Any]) -> str:
    """Of the function's text, and of the plain values that it was made with."""
    code = getattr(function, "__code__", None)
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):  # typed into a prompt, or not written in Python
        text = "" if code is None else repr((code.co_code, code.co_consts, code.co_names))
    cells = inspect.getclosurevars(function).nonlocals if code is not None else {}
    values = {name: value for name, value in cells.items() if isinstance(value, int | float | str | tuple)}
    made = repr((sorted(values.items()), getattr(function, "__defaults__", None)))
    return hashlib.sha256(f"{text}\n{made}".encode()).hexdigest()[:16]


def _found(module: str, name: str) -> Any:
    import importlib

    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def measure(
    columns: Sequence[Column],
    *,
    name: str = "",
    needs: Iterable[Need | str] = (Need.PARAMETERS,),
    cost: float = 1.0,
    version: str = "",
) -> Callable[[Callable[..., Seen]], FunctionMeasure]:
    """Make a measure of a function of a snapshot.

    Args:
        columns: What it gives, one :class:`grokfast.Column` each.
        name: As it is asked for; the function's name if empty.
        needs: What it must be given.
        cost: Of one look, in passes over the test data.
        version: Of the numbers that it gives; if empty, the function's source text stands for it.

    Returns:
        A decorator.

    Raises:
        ConfigError: If no column is declared, or a name has another form.
    """

    def decorate(function: Callable[..., Seen]) -> FunctionMeasure:
        if not callable(function) or inspect.isclass(function):
            raise ConfigError(f"a measure must be a function of a snapshot, got {function!r}")
        return FunctionMeasure(function, columns, name=name, needs=needs, cost=cost, version=version)

    return decorate


def measure_name(measure: object) -> str:
    """What a measure, or a plain function in its place, is called in messages and records."""
    if isinstance(measure, Measure):
        return measure.name
    kind = measure if hasattr(measure, "__qualname__") else type(measure)
    return f"{kind.__module__}:{kind.__qualname__}"

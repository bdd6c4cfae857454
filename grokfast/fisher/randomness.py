"""Random numbers: a model must draw none, and nobody's generator may be left somewhere else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from grokfast._generators import generator_state, set_generator_state
from grokfast.errors import InputError

_T = TypeVar("_T")
_TRIES = 6

_DRAWS = (
    "the model draws random numbers when it runs{how}, so its Fisher diagonal would be that of one draw; call "
    "model.eval(), or make the noise an input"
)


class States:
    """Where the global generators of torch, Python and NumPy are."""

    def __init__(self) -> None:
        self.torch = generator_state()
        cards = torch.cuda.default_generators if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
        self.cuda = [generator_state(card) for card in cards]
        self.python = random.getstate()
        self.numpy: Any = np.random.get_state()  # noqa: NPY002 - the caller's generator, which must stay where it is

    def same(self, other: States) -> bool:
        """Whether nothing was drawn in between."""
        return (
            torch.equal(self.torch, other.torch)
            and all(torch.equal(a, b) for a, b in zip(self.cuda, other.cuda, strict=False))
            and self.same_elsewhere(other)
        )

    def same_elsewhere(self, other: States) -> bool:
        """The same for the generators of Python and NumPy."""
        mine, theirs = self.numpy, other.numpy
        return self.python == other.python and mine[2:] == theirs[2:] and bool((mine[1] == theirs[1]).all())

    def put_back(self) -> None:
        """Set the generators to what they were."""
        set_generator_state(self.torch)
        for state, generator in zip(self.cuda, torch.cuda.default_generators, strict=False):
            set_generator_state(state, generator)
        self.put_back_elsewhere()

    def put_back_elsewhere(self) -> None:
        """The same for the generators of Python and NumPy."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes random operations of this thread, from whatever generator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and _drops(func, args, kwargs):
            self.seen.append(str(func))
        return func(*args, **kwargs)


def _drops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation with a dropout rate (attention, recurrent layers) has one that is not zero."""
    for place, argument in enumerate(func._schema.arguments):
        if argument.name in ("dropout_p", "dropout"):
            rate = args[place] if place < len(args) else kwargs.get(argument.name, argument.default_value)
            return bool(rate)
    return True


def deterministic(run: Callable[[], _T], outside: States | None = None) -> _T:
    """The result of ``run``, if it draws no random numbers; that is looked at first, whatever else it is refused for.

    Torch's draws are seen in this thread alone. Python's and NumPy's generators have no such hook: when one of
    them has moved, the run is repeated, since another thread may have moved it.

    Args:
        run: What may draw.
        outside: Where the generators are put back to if it does; by default where they are now.

    Raises:
        InputError: If it draws.
    """
    outside = outside or States()
    for _ in range(_TRIES):
        before = States()
        found, error, drawn = _tried(run)
        if drawn:
            outside.put_back()
            raise InputError(_DRAWS.format(how=f" ({drawn})")) from error
        if before.same_elsewhere(States()):
            break
    else:
        outside.put_back()
        raise InputError(_DRAWS.format(how=" (from a generator of Python or NumPy)")) from error
    if error is not None:
        raise error
    return found[0]


def _tried(run: Callable[[], _T]) -> tuple[list[_T], InputError | None, str]:
    """What ``run`` gave or why it was refused, which may be due to a draw, and the first random operation of torch."""
    found: list[_T] = []
    error: InputError | None = None
    with _Draws() as draws:
        try:
            found.append(run())
        except InputError as refused:
            error = refused
    return found, error, next(iter(draws.seen), "")


def undisturbed(items: Iterable[_T]) -> Iterator[_T]:
    """Items of an iterable that may draw random numbers (a DataLoader), without moving the global generators.

    The iterable has its own course of random numbers, which starts where the generators are now.
    """
    outside = States()
    iterator = iter(items)
    mine = States()
    if not mine.same(outside):
        outside.put_back()
    while True:
        outside = States()
        if not mine.same(outside):
            mine.put_back()
        try:
            item = next(iterator)
        except StopIteration:
            return
        finally:
            mine = States()
            if not mine.same(outside):
                outside.put_back()
        yield item

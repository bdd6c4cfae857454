"""Callbacks that must change nothing: a run's key says nothing of what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.training.loop import StackState, reads_only
from grokfast.training.optimizers import remembered

Callback = Callable[[StackState], None]


def watched(callback: Callback) -> Callback:
    """A callback whose changes of the stack are noticed.

    A callback with a true attribute ``reads_only`` is taken at its word, and costs nothing.

    Args:
        callback: Called after every epoch.

    Returns:
        A callback that raises InputError if parameters, moments, rates, generators, orders or data have changed.
    """
    if reads_only(callback):
        return callback
    copies: dict[str, Tensor] = {}

    def call(state: StackState) -> None:
        before = dict(_parts(state))
        for name, part in before.items():
            if isinstance(part, Tensor):
                if name in copies and copies[name].shape == part.shape:
                    copies[name].copy_(part)
                else:
                    copies[name] = part.detach().clone()
        callback(state)
        after = dict(_parts(state))
        names = {**before, **after}
        same = {name: _same(before.get(name), after.get(name), copies.get(name)) for name in names}
        changed = [name for name, alike in _answered(same).items() if not alike]
        if changed:
            raise InputError(
                f"on_epoch changed {', '.join(changed[:3])}{' and more' * (len(changed) > 3)} in epoch {state.epoch}: "
                "a run's key does not tell of interventions, so that such a run cannot be stored; train it with "
                "initial_stack and run_epochs, and keep it elsewhere"
            )

    return call


def _parts(state: StackState) -> Iterator[tuple[str, Any]]:
    """Everything that the rest of the training depends on, by name; data by what changes with every write."""
    for name, tensor in state.params.items():
        yield f"parameter {name}", tensor
    for k, moments in enumerate(state.optimizer.moments):
        for name, tensor in zip(state.params, moments, strict=True):
            yield f"moment {k + 1} of {name}", tensor
    for name, tensor in remembered(state.optimizer).items():
        yield f"memory {name} of the hooks", tensor
    for name in ("learning_rate", "weight_decay", "active"):
        yield f"the optimiser's {name}", getattr(state.optimizer, name)
    yield "the optimiser's step", state.optimizer.step
    yield "the epoch", state.epoch
    yield "the batch order", state.batches
    for e, order in enumerate(state.orders):
        yield f"generator {e + 1}", order.get_state()
    yield "the configurations", tuple(state.configs)
    yield "the marks of divergence", tuple(state.diverged)
    for e, split in enumerate(state.splits):
        for name in split.__dataclass_fields__:
            yield f"{name} of member {e + 1}", _mark(getattr(split, name))
    for name, pair in (("training data", state.train), ("test data", state.test)):
        yield f"the {name}", None if pair is None else tuple(map(_mark, pair))


def _mark(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor._version


def _answered(same: dict[str, bool | Tensor]) -> dict[str, bool]:
    """What is known, and what a GPU is asked in one go."""
    asked = {name: alike for name, alike in same.items() if isinstance(alike, Tensor)}
    answers = torch.stack(list(asked.values())).tolist() if asked else []
    told: dict[str, bool] = dict(zip(asked, answers, strict=True))
    return {name: told[name] if name in told else bool(alike) for name, alike in same.items()}


def _same(before: Any, after: Any, copy: Tensor | None) -> bool | Tensor:
    if copy is None or not isinstance(before, Tensor):
        return bool(before == after)
    if not isinstance(after, Tensor) or before.shape != after.shape or before.stride() != after.stride():
        return False
    if after.is_floating_point():
        # By bits: NaN equals itself.
        kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[after.element_size()]
        copy, after = copy.contiguous().view(kind), after.detach().contiguous().view(kind)
    return torch.equal(copy, after) if after.is_cpu else (copy == after).all()

"""Derivatives of a model's outputs along directions in parameter space."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from grokfast.errors import InputError
from grokfast.fisher.batches import Inputs
from grokfast.fisher.job import Job, World
from grokfast.fisher.likelihoods import SampleAxisError
from grokfast.fisher.tracing import Plain

_warned: set[str] = set()


def run_model(job: Job, model: nn.Module, inputs: Inputs) -> Tensor:
    """The outputs; those of a single sample from two, if the model squeezes."""
    try:
        return job.run(model, inputs)
    except SampleAxisError:
        if inputs.n != 1:
            raise
        return job.run(model, inputs.rows([0, 0]))[:1]


class _Called(nn.Module):
    """A module whose forward gives the checked outputs, to be called with parameters from outside."""

    def __init__(self, job: Job, model: nn.Module) -> None:
        super().__init__()
        self.job, self.inner = job, model

    def forward(self, inputs: Inputs) -> Tensor:
        """The logits."""
        return run_model(self.job, self.inner, inputs)


def by_forward_mode(
    job: Job, world: World, directions: Sequence[dict[str, Tensor]], inputs: Inputs
) -> tuple[Tensor, Tensor] | None:
    """Outputs and derivatives, or None for a model with an operation that has no forward mode."""
    called = _Called(job, world.model)
    primals = {f"inner.{name}": leaf.detach() for name, leaf in world.leaves.items()}

    def outputs(leaves: dict[str, Tensor]) -> Tensor:
        return functional_call(called, leaves, (inputs,))  # type: ignore[no-any-return]

    def one(direction: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return jvp(outputs, (primals,), (direction,))[:2]

    named = [{f"inner.{name}": t for name, t in direction.items()} for direction in directions]
    with torch.no_grad(), Plain(simple=True):
        if not _warned:
            with warnings.catch_warnings():  # torch's own, from its first forward-mode call
                warnings.simplefilter("ignore", DeprecationWarning)
                jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))
            _warned.add("")
        if len(named) > 1:
            together = {name: torch.stack([d[name] for d in named]) for name in named[0]}
            # What vmap cannot follow (values that decide what is run) goes one direction after the other.
            with suppress(RuntimeError):
                return vmap(one, out_dims=(None, 0))(together)  # type: ignore[arg-type]
        try:
            parts = [one(direction) for direction in named]
        except InputError:
            raise
        except Exception:  # whatever an operation says that has no forward mode; the other way raises it again
            return None
    return parts[0][0], torch.stack([tangent for _, tangent in parts])


def by_two_backward_passes(
    job: Job, world: World, directions: Sequence[dict[str, Tensor]], inputs: Inputs
) -> tuple[Tensor, Tensor]:
    """The same by reverse mode: ``J^T v`` is linear in v, and its gradient along a direction d is ``J d``."""
    leaves = list(world.leaves.values())
    with Plain(simple=True):
        out = run_model(job, world.model, inputs)
        v = torch.zeros_like(out, requires_grad=True)
        try:
            back = torch.autograd.grad(out, leaves, v, create_graph=True, allow_unused=True)
            used = [(g, name) for g, name in zip(back, world.leaves, strict=True) if g is not None and g.requires_grad]
            tangents = []
            for direction in directions:
                if not used:
                    tangents.append(torch.zeros_like(out))
                    continue
                sides = [direction[name] for _, name in used]
                (tangent,) = torch.autograd.grad([g for g, _ in used], [v], sides, retain_graph=True, allow_unused=True)
                tangents.append(torch.zeros_like(out) if tangent is None else tangent)
        except RuntimeError as error:
            raise InputError(
                "the model has an operation that can be differentiated neither forward nor twice backward, which the "
                f"full metric needs: {str(error).splitlines()[0]}"
            ) from error
    return out.detach(), torch.stack(tangents).detach()

"""The inputs of layers from a float64 pass, where a float32 one leaves activations too few digits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.fisher.batches import Inputs
from grokfast.fisher.job import Job, State
from grokfast.fisher.layout import Layout
from grokfast.fisher.samples import Traced
from grokfast.fisher.tracing import Reader

_READ = 64  # samples of one float64 pass for the inputs of layers: few enough to stay in cache
_NEAR = 1e-3  # how far a float64 input may be from the float32 one, in parts of the largest of its sample


def inputs_by_float64(
    job: Job, state: State, inputs: Inputs, traced: Traced, places: Sequence[Layout | None]
) -> dict[int, Tensor]:
    """The inputs of the uses, samples first, by the place of the use: computed in float64, then rounded.

    An activation that nearly cancels has few right digits after a float32 pass, and its square is all there is
    of an entry whose unit is active in few samples. The pass runs in chunks; what is read is taken only where
    every sample of it is what the float32 pass over the block saw, within its rounding. A model that sorts, packs
    or pads within its batch does something else on a chunk, and keeps its float32 inputs.
    """
    world = job.world(state, double=True)
    names = {id(leaf): name for name, leaf in world.leaves.items()}
    signatures = [use.signature for use in traced.uses]
    parts: list[list[Tensor]] = [[] for _ in signatures]
    n = inputs.n
    mine = [None if type(place) is not Layout else place.front(use.x, n, use.rule.x_axes)
            for use, place in zip(traced.uses, places, strict=True)]  # fmt: skip
    for start in range(0, n, _READ):
        some = inputs.rows(slice(start, start + _READ)).double()
        reader = Reader(names, traced.outputs.dtype)
        try:
            with reader:
                job.run(world.model, some)
        except Exception:  # whatever a model says that was written for float32 or for whole batches
            return {}
        if [signature for signature, _ in reader.seen] != signatures:
            return {}
        for k, (place, (_, x)) in enumerate(zip(places, reader.seen, strict=True)):
            here = mine[k]
            if here is None or place is None:
                continue
            rows = here[start : start + _READ]
            read = (
                place.front(x, some.n, traced.uses[k].rule.x_axes)
                if place.fits(tuple(x.shape), some.n, traced.uses[k].rule.x_axes)
                else None
            )
            if read is None or not _near(read, rows):
                mine[k] = None
                parts[k] = []
            else:
                parts[k].append(read)
    return {k: torch.cat(part) for k, part in enumerate(parts) if part and mine[k] is not None}


def _near(read: Tensor, rows: Tensor) -> bool:
    if read.shape != rows.shape:
        return False
    if not read.is_floating_point():
        return torch.equal(read, rows)
    if not read.numel():
        return True
    size = rows.flatten(1).abs().amax(1)
    return bool(((read - rows).flatten(1).abs().amax(1) <= _NEAR * size).all())

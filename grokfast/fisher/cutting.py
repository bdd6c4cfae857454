"""Whether a block cut from a batch is what it is in the batch, so that the whole never has to be run.

A model may cut its batch at the longest sample, sort it, or look for one that is special. What the first samples
show of that says nothing about the next block. So for the very block either

* the graph of its pass keeps the samples apart and nothing was looked at past the graph, or
* it is run once more together with some samples from all over the batch, without gradients: neither side may change.
"""

from __future__ import annotations

import torch

from grokfast.errors import InputError
from grokfast.fisher.agreement import agree
from grokfast.fisher.batches import Block, Inputs
from grokfast.fisher.job import Job, State
from grokfast.fisher.likelihoods import SampleAxisError
from grokfast.fisher.passes import untraced
from grokfast.fisher.samples import Traced, sample_major

_COMPANY = 8


def separable(traced: Traced, n: int) -> bool:
    """Whether a pass shows that no sample can know of another."""
    return not traced.reads and traced.flow.apart and all(sample_major(traced, use, n) for use in traced.uses)


def check_cut(job: Job, state: State, double: bool, block: Block, outputs: torch.Tensor) -> None:
    """Raise if the outputs of a block change in other company.

    Args:
        job: The model.
        state: Its parameters.
        double: Whether the pass was in float64.
        block: A block that was cut from a batch.
        outputs: What the model gave for it.

    Raises:
        InputError: If so.
    """
    if block.whole is None:
        return
    count = min(_COMPANY, block.whole.n)
    others = block.whole.rows([k * (block.whole.n - 1) // max(1, count - 1) for k in range(count)])
    mine, others = (part.double() if double else part for part in (block.inputs, others))
    both = mine.of(torch.cat(pair) for pair in zip(mine.tensors, others.tensors, strict=True))
    with torch.no_grad():
        found, alone = (_outputs(job, state, double, part) for part in (both, others))
    if not (agree(found[: block.n], outputs.detach()) and agree(found[block.n :], alone)):
        raise InputError(
            f"the outputs of samples depend on the batch they are in: {block.n} of {block.whole.n} samples have other "
            f"outputs together with {count} more, so the batch cannot be cut into blocks; pass batch_size="
            f"{block.whole.n} to run it whole, or batches as the model was meant to see them (a list, a DataLoader)"
        )


def _outputs(job: Job, state: State, double: bool, inputs: Inputs) -> torch.Tensor:
    try:
        return untraced(job, state, double, inputs)[1]
    except SampleAxisError:
        if inputs.n != 1:
            raise
        return untraced(job, state, double, inputs.rows([0, 0]))[1][:1]

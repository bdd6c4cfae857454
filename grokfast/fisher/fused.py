"""Whole-model paths: models that are one recognised chain of layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.batches import Block
from grokfast.fisher.chains import Link, chain_of
from grokfast.fisher.guards import name_non_finite, raise_non_finite
from grokfast.fisher.job import Job, member
from grokfast.fisher.likelihoods import check_targets, draw_labels
from grokfast.fisher.variants import Kind, Likelihood, Way
from grokfast.ops import TwoLayerLabels, fisher_two_layer


class Fused:
    """A compiled path for a whole model.

    Args:
        links: The chain.
        shape: Shape of one sample.
    """

    way = Way.FUSED
    reason = ""
    block = 2048

    def __init__(self, links: list[Link], shape: tuple[int, ...]) -> None:
        self.links, self.shape = links, shape
        self.names = [name for link in links for name in (link.weight, link.bias) if name]

    def run(
        self, x: Tensor, values: Mapping[str, Tensor], labels: Tensor | None, mode: TwoLayerLabels
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Sums of squares by name, with a leading axis of members, and a status per member (0 if all is finite)."""
        raise NotImplementedError

    def squares(
        self,
        job: Job,
        params: Mapping[str, Tensor] | None,
        block: Block,
        samples: int,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        """Sums over one block of samples of squared gradients, by parameter, in float64."""
        x = block.args[0]
        if len(block.args) != 1 or tuple(x.shape[1:]) != self.shape or x.dtype != job.dtype:
            raise InputError(
                f"the plan was made for one input of shape [N, {', '.join(map(str, self.shape))}] and {job.dtype}, "
                f"got {[list(a.shape) for a in block.args]} and {x.dtype}; plan again"
            )
        own = job.leaves
        values = {
            name: own[name].detach().unsqueeze(0) if params is None else params[name].detach() for name in self.names
        }
        labels, mode = self._labels(job, params, block, samples, generator)
        found, status = self.run(x, values, labels, mode)
        for index, bad in enumerate(status.tolist()):
            if bad:
                state = None if params is None else member(params, index, ())
                raise_non_finite(name_non_finite(job.model, block.args, state) or "the model")
        if job.kind is Kind.MC:
            found = {name: value / samples for name, value in found.items()}
        if params is None:
            return {name: found[name][0].double() for name in own}
        return {name: found[name].double() for name in own}

    def _labels(
        self, job: Job, params: Mapping[str, Tensor] | None, block: Block, samples: int,
        generator: torch.Generator | None,
    ) -> tuple[Tensor | None, TwoLayerLabels]:  # fmt: skip
        if job.likelihood is Likelihood.GAUSSIAN:
            return None, TwoLayerLabels.GAUSSIAN
        if job.kind is Kind.EXACT:
            return None, TwoLayerLabels.SOFTMAX
        members = 1 if params is None else next(iter(params.values())).shape[0]
        classes = self.links[-1].out[-1]
        if job.kind is Kind.EMPIRICAL:
            like = block.args[0].new_empty(1).expand(block.n, classes)
            targets = check_targets(block.targets, like, job.likelihood)
            return targets.expand(members, 1, -1).contiguous(), TwoLayerLabels.GIVEN
        start = None if generator is None else generator.get_state()
        drawn = []
        for index in range(members):
            if generator is not None and start is not None:
                generator.set_state(start)
            with torch.no_grad():
                state = None if params is None else member(params, index, ())
                outputs = torch.func.functional_call(job.model, state or {}, block.args)
            if not bool(torch.isfinite(outputs).all()):
                raise_non_finite(name_non_finite(job.model, block.args, state) or "the model")
            drawn.append(draw_labels(outputs, job.likelihood, samples, generator))
        return torch.stack(drawn), TwoLayerLabels.GIVEN


class TwoLayer(Fused):
    """One hidden ReLU layer: the closed form."""

    way = Way.CLOSED_FORM
    reason = "one hidden ReLU layer: no backward pass; inputs with few non-zeros skip the products with them"

    def run(
        self, x: Tensor, values: Mapping[str, Tensor], labels: Tensor | None, mode: TwoLayerLabels
    ) -> tuple[dict[str, Tensor], Tensor]:
        """By :func:`grokfast.ops.fisher_two_layer`."""
        first, second = (link for link in self.links if link.what == "linear")
        places = (first.weight, first.bias, second.weight, second.bias)
        given = [values[name] if name else None for name in places]
        x = x.flatten(1)
        found = fisher_two_layer(x, given[0], given[1], given[2], given[3], labels, int(mode))
        return {name: value for name, value in zip(places, found, strict=False) if name}, found[4]


def recognise(
    job: Job, state: Mapping[str, Tensor] | None, leaves: Mapping[str, Tensor], first: Block
) -> Fused | None:
    """The compiled path for this model, if there is one."""
    if job.likelihood is Likelihood.BERNOULLI:
        return None
    if job.likelihood is Likelihood.GAUSSIAN and job.kind is not Kind.EXACT:
        return None
    links = chain_of(job, state, leaves, first.slice(0, 2).args)
    if links is None:
        return None
    if job.likelihood is Likelihood.CATEGORICAL and (len(links[-1].out) != 1 or links[-1].out[0] < 2):
        return None
    shape = tuple(first.args[0].shape[1:])
    layers = [link.what for link in links if link.what != "flatten"]
    if layers == ["linear", "relu", "linear"]:
        return TwoLayer(links, shape)
    return None

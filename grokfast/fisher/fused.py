"""Whole-model paths: models that are one recognised chain of layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from grokfast._generators import generator_state, set_generator_state
from grokfast.errors import InputError
from grokfast.fisher.batches import Block
from grokfast.fisher.chains import Link, chain_of
from grokfast.fisher.guards import name_non_finite, raise_non_finite
from grokfast.fisher.job import Job, State, member
from grokfast.fisher.likelihoods import check_targets, draw_labels
from grokfast.fisher.threads import one_thread
from grokfast.fisher.variants import Kind, Likelihood, Way
from grokfast.ops import LabelMode, fisher_two_layer, kernel
from grokfast.ops.fisher_chain import CONV, LINEAR, MAXPOOL, RELU, fisher_chain_compiled

# So few samples of so small a network are done in float64 in any case: it costs nothing.
_FEW = 64
_SMALL = 1 << 20  # samples x parameters


class Fused:
    """A compiled path for a whole model.

    Attributes:
        block: Samples in one call. Sums of a call are float32 where the model is; those of the calls are
            added up in float64.
        block_on_gpu: The same on CUDA, where kernels sum in float64 and take members in groups that fit the memory.

    Args:
        links: The chain.
        shape: Shape of one sample.
    """

    way = Way.FUSED
    reason = ""
    block = 2048
    block_on_gpu = 1 << 16

    def __init__(self, links: list[Link], shape: tuple[int, ...]) -> None:
        self.links, self.shape = links, shape
        self.names = [name for link in links for name in (link.weight, link.bias) if name]

    def run(
        self, x: Tensor, values: Mapping[str, Tensor], labels: Tensor | None, mode: LabelMode
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Sums of squares by name, with a leading axis of members, and a status per member (0 if all is finite)."""
        raise NotImplementedError

    def squares(
        self,
        job: Job,
        leaves: Mapping[str, Tensor],
        params: Mapping[str, Tensor] | None,
        block: Block,
        samples: int,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        """Sums over one block of samples of squared gradients, by parameter, float32 or float64."""
        x = block.inputs.tensors[0]
        if block.inputs.names != ("",) or tuple(x.shape[1:]) != self.shape or x.dtype != job.dtype:
            raise InputError(
                f"the plan was made for one input of shape [N, {', '.join(map(str, self.shape))}] "
                f"and {job.dtype}, "
                f"got {[list(a.shape) for a in block.inputs.tensors]} and {x.dtype}; plan again"
            )
        values = {
            name: leaves[name].detach().unsqueeze(0) if params is None else params[name].detach() for name in self.names
        }
        labels, mode = self._labels(job, params, block, samples, generator)
        keep = self._kept(job, block)
        if keep is not None:
            x, labels = x[keep], None if labels is None else labels[:, :, keep].contiguous()
        members = 1 if params is None else next(iter(values.values())).shape[0]
        if block.n <= _FEW and block.n * sum(value.numel() for value in values.values()) <= _SMALL * members:
            x, values = _doubled(x, values)
        found, status = self.run(x, values, labels, mode)
        states = status.tolist()
        if _UNBOUNDED in states:
            self._check_finite(job, params, block, states)
            found, status = self.run(*_doubled(x, values), labels, mode)
            states = status.tolist()
        self._check_finite(job, params, block, states, "the model")
        if job.kind is Kind.MC:
            with one_thread():
                found = {name: value / samples for name, value in found.items()}
        if params is None:
            return {name: found[name][0] for name in leaves}
        return {name: found[name] for name in leaves}

    def _check_finite(
        self, job: Job, params: Mapping[str, Tensor] | None, block: Block, states: list[int], otherwise: str = ""
    ) -> None:
        """Raise for the first member with a status, naming the layer or else ``otherwise`` if that is given."""
        for index, bad in enumerate(states):
            if bad:
                world = job.world(None if params is None else member(params, index))
                where = name_non_finite(world.model, partial(block.inputs.call, world.model)) or otherwise
                if where:
                    raise_non_finite(where)

    def _kept(self, job: Job, block: Block) -> Tensor | None:
        """Which samples count, or None for all."""
        keep = None if block.mask is None else check_mask(block.mask, block.n)
        if job.kind is Kind.EMPIRICAL and block.targets is not None:
            labelled = block.targets.to(block.inputs.tensors[0].device) != job.ignore_index
            if not bool(labelled.all()):
                keep = labelled if keep is None else keep & labelled
        return keep

    def _labels(
        self, job: Job, params: Mapping[str, Tensor] | None, block: Block, samples: int,
        generator: torch.Generator | None,
    ) -> tuple[Tensor | None, LabelMode]:  # fmt: skip
        if job.likelihood is Likelihood.GAUSSIAN:
            return None, LabelMode.GAUSSIAN
        if job.kind is Kind.EXACT:
            return None, LabelMode.SOFTMAX
        members = 1 if params is None else next(iter(params.values())).shape[0]
        classes = self.links[-1].out[-1]
        if job.kind is Kind.EMPIRICAL:
            like = block.inputs.tensors[0].new_empty(1).expand(block.n, classes)
            targets = check_targets(block.targets, like, job.likelihood, job.ignore_index)
            targets = targets.masked_fill(targets == job.ignore_index, 0)
            return targets.expand(members, 1, -1).contiguous(), LabelMode.GIVEN
        start = None if generator is None else generator_state(generator)
        drawn = []
        for index in range(members):
            if generator is not None and start is not None:
                set_generator_state(start, generator)
            world = job.world(None if params is None else member(params, index))
            with torch.no_grad():
                outputs = job.run(world.model, block.inputs)
            if not bool(torch.isfinite(outputs).all()):
                raise_non_finite(name_non_finite(world.model, partial(block.inputs.call, world.model)) or "the model")
            drawn.append(draw_labels(outputs, job.likelihood, samples, generator))
        return torch.stack(drawn), LabelMode.GIVEN


class TwoLayer(Fused):
    """One hidden ReLU layer: the closed form."""

    way = Way.CLOSED_FORM
    reason = "one hidden ReLU layer: no backward pass; inputs with few non-zeros skip the products with them"

    def run(
        self, x: Tensor, values: Mapping[str, Tensor], labels: Tensor | None, mode: LabelMode
    ) -> tuple[dict[str, Tensor], Tensor]:
        """By :func:`grokfast.ops.fisher_two_layer`."""
        first, second = (link for link in self.links if link.what == "linear")
        places = (first.weight, first.bias, second.weight, second.bias)
        given = [values[name] if name else None for name in places]
        x = x.flatten(1)
        found = fisher_two_layer(x, given[0], given[1], given[2], given[3], labels, int(mode))
        return {name: value for name, value in zip(places, found, strict=False) if name}, found[4]


class Chain(Fused):
    """Convolutions, ReLUs, max poolings and linear layers: one fused pass, a sample per vector lane."""

    way = Way.FUSED
    reason = "a chain of convolutions, ReLUs, poolings and linear layers: one pass per sample in cache"
    block = 8192  # nothing is stored per sample

    def __init__(self, links: list[Link], shape: tuple[int, ...]) -> None:
        super().__init__(links, shape)
        kinds = {"conv": CONV, "relu": RELU, "maxpool": MAXPOOL, "linear": LINEAR}
        self.spec: list[int] = []
        before = shape
        for link in links:
            if link.what == "flatten":
                continue
            flat = link.what == "linear" or len(before) != 3 or len(link.out) != 3
            places = [self.names.index(name) if name else -1 for name in (link.weight, link.bias)]
            into = (_numel(before), 1, 1) if flat else before
            out = (_numel(link.out), 1, 1) if flat else link.out
            self.spec += [
                kinds[link.what], *into, *out, *link.kernel, *link.stride, *link.padding, *link.dilation,
                *places,
            ]  # fmt: skip
            before = link.out

    def run(
        self, x: Tensor, values: Mapping[str, Tensor], labels: Tensor | None, mode: LabelMode
    ) -> tuple[dict[str, Tensor], Tensor]:
        """By the body of :func:`grokfast.ops.fisher_chain`: its dispatch would cost as much as 16 samples do."""
        params = [values[name] for name in self.names]
        found = fisher_chain_compiled(x, params, self.spec, labels, int(mode))
        if _LARGE in found[-1].tolist():
            x, values = _doubled(x, values)
            found = fisher_chain_compiled(x, [values[name] for name in self.names], self.spec, labels, int(mode))
        return dict(zip(self.names, found, strict=False)), found[-1]


_LARGE, _UNBOUNDED = 3, 4  # status of fisher_chain: logits need float64; a convolution may have overflowed


def _doubled(x: Tensor, values: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    with one_thread():
        return x.double(), {name: value.double() for name, value in values.items()}


def _numel(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def check_mask(mask: Tensor, n: int) -> Tensor:
    """A mask of samples, checked."""
    if tuple(mask.shape) != (n,):
        raise InputError(f"mask must have shape [{n}], one for each sample, got {list(mask.shape)}")
    return mask.bool()


def recognise(job: Job, state: State, first: Block) -> Fused | None:
    """The compiled path for this model, if there is one."""
    if job.likelihood is Likelihood.BERNOULLI:
        return None
    if job.likelihood is Likelihood.GAUSSIAN and job.kind is not Kind.EXACT:
        return None
    if first.mask is not None and job.likelihood is not Likelihood.CATEGORICAL:
        return None
    links = chain_of(job, state, first.slice(0, 2).inputs)
    if links is None:
        return None
    if job.likelihood is Likelihood.CATEGORICAL and (len(links[-1].out) != 1 or links[-1].out[0] < 2):
        return None
    shape = tuple(first.inputs.tensors[0].shape[1:])
    layers = [link.what for link in links if link.what != "flatten"]
    if layers == ["linear", "relu", "linear"]:
        return TwoLayer(links, shape)
    if (
        kernel("fisher_chain", first.inputs.tensors[0]) is None
        or links[-1].what != "linear"
        or max(map(_width, links)) > _WIDEST
    ):
        return None
    return Chain(links, shape)


# Beyond this many channels a layer's own kernels, which tile over channels, are faster than a sample per
# lane.
_WIDEST = 16


def _width(link: Link) -> int:
    return link.out[0] if link.what == "conv" else 0

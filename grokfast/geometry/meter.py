"""Measures of one step of a stack: three checkpoints, one Fisher diagonal or Gram matrix at a time."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from grokfast.errors import InputError
from grokfast.fisher import FisherPlan, fisher_gram, fisher_plan
from grokfast.geometry.variants import MetricFisher, Variant
from grokfast.measures import lengths_and_angles, stiff_parameters, stiffest_parameters
from grokfast.models import Params
from grokfast.ops import GRAM, metric_gram

Stack = Mapping[str, Tensor]
Mask = list[Tensor]

_WHOLE, _STIFF, _SLOPPY = "", "stiff_", "sloppy_"


class GeometryMeter:
    """Measures steps of a stack of networks in several metrics, and in the Euclidean one.

    Args:
        model: The network; its own parameters are not used.
        inputs: What the Fisher information averages over: one tensor of model inputs ``[N, ...]`` a member, or one
            for all.
        variants: The metrics.
        train_inputs: The same of training inputs, for metrics that average over those.
        forgiving: Give NaN with a warning, not an error, for members whose Fisher information cannot be had
            (activations that are not finite, a model so saturated that it vanishes).

    Raises:
        InputError: If a metric asks for more samples than there are, or for training inputs that were not given.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Sequence[Tensor],
        variants: Sequence[Variant],
        forgiving: bool = False,
        *,
        train_inputs: Sequence[Tensor] = (),
    ) -> None:
        self.forgiving = forgiving
        self.model, self.variants = model, tuple(variants)
        self.inputs = list(inputs)
        self._inputs = {False: self.inputs, True: list(train_inputs)}
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        if not self.names:
            raise InputError("the model has no trainable parameter, so that it moves nowhere")
        if not inputs:
            raise InputError("expected inputs of at least one member, got none")
        for variant in self.variants:
            if not self._inputs[variant.train]:
                raise InputError(f"the metric {variant} needs training inputs, got none")
            for x in self._inputs[variant.train]:
                if not 1 <= max(1, variant.samples) <= len(x):
                    raise InputError(f"the metric {variant} needs at least that many samples, got {len(x)}")
        self.split: dict[Variant, Mask] = {}
        """Stiff parameters by diagonal metric, uint8 ``[E, ...]`` a parameter; empty without a split."""
        self._plans: dict[Variant, FisherPlan] = {}
        self._warned: set[Variant] = set()

    def look(self, before: Stack | None, here: Stack, after: Stack) -> dict[str, Tensor]:
        """Measures of the step from ``here`` to ``after``, with the metric at ``here``.

        Args:
            before: The checkpoint a step earlier, ``[E, ...]``; None if there is none: cosines are NaN then.
            here: The shared point of the two steps; may hold buffers of the model too.
            after: The checkpoint a step later.

        Returns:
            float64 ``[E]`` on the CPU by column: ``geometry_<metric>_length``, ``_cosine``, ``_origin``, the same of
            the subspaces ``<metric>_stiff`` and ``<metric>_sloppy`` where there is a split, and
            ``<metric>_undefined``: 1 where a value has no meaning (a zero step, parameters or a metric that are not
            finite) and is NaN.
        """
        start = here if before is None else before
        first, middle, last = ([values[name] for name in self.names] for values in (start, here, after))
        plain = metric_gram(first, middle, last, [], [])[:, 0]
        columns = _columns("euclidean", _WHOLE, plain, before is not None)
        finite = plain.isfinite().all(1).tolist()
        for variant in self.variants:
            rows = [self._member(variant, e, here, first, middle, last, finite[e]) for e in range(len(finite))]
            products = torch.stack(rows)
            parts = [_WHOLE] if products.shape[1] == 1 else [_WHOLE, _STIFF, _SLOPPY]
            for k, part in enumerate(parts):
                columns |= _columns(_label(variant), part, products[:, k], before is not None)
        return columns

    def diagonals(self, params: Stack, variant: Variant) -> Params:
        """Fisher diagonal ``[E, ...]`` of the trainable parameters; NaN for a member that has none."""
        rows = [self._diagonal(variant, e, params) for e in range(len(params[self.names[0]]))]
        return {
            name: torch.cat(
                [torch.full_like(params[name][:1], torch.nan) if row is None else row[name] for row in rows]
            )
            for name in self.names
        }

    def split_by(self, final: Stack, threshold: float) -> None:
        """Call parameters stiff by their Fisher diagonal in the end model.

        In the logit Fisher those of at least the threshold; in the softmax Fisher, whose scale differs, as many as
        the logit Fisher of the same samples calls stiff, from its largest downwards.

        Args:
            final: Parameters of the end model.
            threshold: 0.1 in the paper.
        """
        self.split = {}
        for samples, train in {(variant.samples, variant.train) for variant in self.variants}:
            logit = Variant(MetricFisher.LOGIT, samples, train=train)
            marks = stiff_parameters(_zeros_for_nan(self.diagonals(final, logit)), threshold)
            self.split[logit] = [mark.to(torch.uint8) for mark in marks.values()]
            softmax = Variant(MetricFisher.SOFTMAX, samples, train=train)
            if softmax in [variant.diagonal for variant in self.variants]:
                counts = torch.stack([mark.reshape(len(mark), -1).sum(1) for mark in marks.values()]).sum(0)
                marks = stiffest_parameters(_zeros_for_nan(self.diagonals(final, softmax)), counts)
                self.split[softmax] = [mark.to(torch.uint8) for mark in marks.values()]

    def _member(
        self, variant: Variant, e: int, here: Stack, first: Mask, middle: Mask, last: Mask, finite: bool
    ) -> Tensor:
        """Inner products ``[1 or 3, 5]`` of one member: whole, and stiff and sloppy where there is a split."""
        mask = [mark[e : e + 1] for mark in self.split.get(variant.diagonal, [])]
        rows = slice(e, e + 1)
        first, middle, last = ([value[rows] for value in values] for values in (first, middle, last))
        nothing = torch.full((3 if mask else 1, len(GRAM)), torch.nan, dtype=torch.float64)
        if not finite:
            return nothing
        if variant.full:
            return _whole_metric(self._gram(variant, e, here, first, middle, last, mask), nothing)
        metric = self._diagonal(variant, e, here)
        if metric is None:
            return nothing
        sums = metric_gram(first, middle, last, [metric[name] for name in self.names], mask)[0].cpu()
        return sums if not mask else torch.stack([sums.sum(0), sums[1], sums[0]])

    def _diagonal(self, variant: Variant, e: int, params: Stack) -> Mapping[str, Tensor] | None:
        x = self._samples(variant, e)
        state = {name: value[e : e + 1] for name, value in params.items()}
        try:
            if variant not in self._plans:
                likelihood = variant.fisher.likelihood
                self._plans[variant] = fisher_plan(self.model, x, likelihood=likelihood, params=state)
            return self._plans[variant](x, params=state)
        except InputError as error:
            self._forgive(variant, error)
            return None

    def _gram(
        self, variant: Variant, e: int, params: Stack, first: Mask, middle: Mask, last: Mask, mask: Mask
    ) -> Tensor | None:
        """Gram matrix of s, p and o, or of their stiff parts and then their sloppy ones."""
        steps: list[list[Tensor]] = [
            [b - a for a, b in zip(middle, last, strict=True)],
            [b - a for a, b in zip(first, middle, strict=True)],
            [-a for a in middle],
        ]
        if mask:
            steps = [[v * m for v, m in zip(step, side, strict=True)] for side in (mask, [1 - m for m in mask])
                     for step in steps]  # fmt: skip
        directions = [dict(zip(self.names, step, strict=True)) for step in steps]
        state = {name: value[e : e + 1] for name, value in params.items()}
        try:
            likelihood = variant.fisher.likelihood
            return fisher_gram(
                self.model, self._samples(variant, e), directions, likelihood=likelihood, params=state
            )[0].double().cpu()  # fmt: skip
        except InputError as error:
            self._forgive(variant, error)
            return None

    def _forgive(self, variant: Variant, error: InputError) -> None:
        if not self.forgiving:
            raise error
        if variant not in self._warned:
            self._warned.add(variant)
            warnings.warn(f"geometry in the metric {variant} is NaN at times: {error}", RuntimeWarning, stacklevel=4)

    def _samples(self, variant: Variant, e: int) -> Tensor:
        inputs = self._inputs[variant.train]
        x = inputs[e] if len(inputs) > 1 else inputs[0]
        return x[: variant.samples] if variant.samples else x


def _whole_metric(gram: Tensor | None, nothing: Tensor) -> Tensor:
    if gram is None:
        return nothing
    if len(gram) == 3:
        return _products(gram)[None]
    # A direction is its stiff part plus its sloppy one.
    together = gram[:3, :3] + gram[3:, 3:] + gram[:3, 3:] + gram[3:, :3]
    return torch.stack([_products(part) for part in (together, gram[:3, :3], gram[3:, 3:])])


def _products(gram: Tensor) -> Tensor:
    return torch.stack([gram[0, 0], gram[1, 1], gram[2, 2], gram[0, 1], gram[0, 2]])


def _columns(label: str, part: str, products: Tensor, has_before: bool) -> dict[str, Tensor]:
    products = products.cpu()
    found = lengths_and_angles(products.where(products.isfinite().all(1, keepdim=True), torch.nan))
    cosine = found.cosine if has_before else torch.full_like(found.cosine, torch.nan)
    prefix = f"geometry_{label}_{part}"
    columns = {f"{prefix}length": found.length, f"{prefix}cosine": cosine, f"{prefix}origin": found.origin}
    if part == _WHOLE:
        bad = found.length.isnan() | found.origin.isnan() | (cosine.isnan() & has_before)
        columns[f"{prefix}undefined"] = bad.double()
    return columns


def _label(variant: Variant) -> str:
    return str(variant).replace("-", "_")


def _zeros_for_nan(diagonal: Stack) -> Params:
    return {name: value.nan_to_num(nan=0.0) for name, value in diagonal.items()}

"""The keyword options of the Fisher diagonal and of products with the whole matrix, and a call's, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypedDict

import torch
from torch import Tensor, nn

from grokfast._checks import check_at_least, parse_choice
from grokfast.fisher.batches import Labels
from grokfast.fisher.job import Job, check_stack, make_job
from grokfast.fisher.likelihoods import IGNORE
from grokfast.fisher.outputs import Pick
from grokfast.fisher.variants import Kind, Likelihood, Reduction


class RequestOptions(TypedDict, total=False):
    """Which diagonal, of which outputs."""

    kind: Annotated[str | Kind, "exact"]
    likelihood: Annotated[str | Likelihood, "categorical"]
    logits: Annotated[Pick, None]
    class_axis: Annotated[int | None, None]
    ignore_index: Annotated[int, IGNORE]


class CallOptions(TypedDict, total=False):
    """How a diagonal is computed."""

    mask: Annotated[Labels, None]
    params: Annotated[Mapping[str, Tensor] | None, None]
    reduction: Annotated[str | Reduction, "mean"]
    batch_size: Annotated[int | None, None]
    samples: Annotated[int, 1]
    generator: Annotated[torch.Generator | None, None]
    progress: Annotated[bool, False]


class DiagonalOptions(RequestOptions, CallOptions, total=False):
    """Of :func:`grokfast.fisher.fisher_diag`."""

    explain: Annotated[bool, False]


class PlanOptions(RequestOptions, total=False):
    """Of :func:`grokfast.fisher.fisher_plan`."""

    params: Annotated[Mapping[str, Tensor] | None, None]
    targets: Annotated[str | None, None]
    mask: Annotated[str | None, None]


class ProductOptions(TypedDict, total=False):
    """Of products with the whole Fisher matrix."""

    likelihood: Annotated[str | Likelihood, "categorical"]
    params: Annotated[Mapping[str, Tensor] | None, None]
    reduction: Annotated[str | Reduction, "mean"]
    batch_size: Annotated[int | None, None]
    mask: Annotated[Labels, None]
    logits: Annotated[Pick, None]
    class_axis: Annotated[int | None, None]


@dataclass(frozen=True)
class Call:
    """How a diagonal is computed, checked.

    Attributes:
        params: A stack, used instead of the model's own parameters.
        members: How many it holds.
        reduction: Over samples.
        batch_size: Samples handled at once.
        samples: Labels drawn per sample.
        generator: Where they are drawn from.
        progress: Whether to show a bar.
    """

    params: Mapping[str, Tensor] | None
    members: int | None
    reduction: Reduction
    batch_size: int | None
    samples: int
    generator: torch.Generator | None
    progress: bool

    @classmethod
    def parse(cls, model: nn.Module, options: CallOptions) -> Call:
        """Check options as the user gives them.

        Args:
            model: The network.
            options: All of them.

        Raises:
            InputError: If one is out of range, or a stack does not fit the model.
        """
        reduction = parse_choice("reduction", options["reduction"], Reduction)
        check_run(options["batch_size"], options["samples"])
        params = options["params"]
        members = None if params is None else check_stack(model, params)
        return cls(
            params, members, reduction, options["batch_size"], options["samples"], options["generator"],
            options["progress"],
        )  # fmt: skip


def check_run(batch_size: int | None, samples: int) -> None:
    """Raise unless block size and number of drawn labels are positive integers."""
    if batch_size is not None:
        check_at_least("batch_size", batch_size, 1)
    check_at_least("samples", samples, 1)


def asked_job(model: nn.Module, options: RequestOptions) -> tuple[Job, dict[str, Tensor]]:
    """The checked request, and the trainable parameters."""
    kind, likelihood, logits = options["kind"], options["likelihood"], options["logits"]
    return make_job(model, kind, likelihood, logits, options["class_axis"], options["ignore_index"])

"""The result: a dictionary of diagonals that can be flattened, saved and loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.variants import Kind, Likelihood, Reduction

if TYPE_CHECKING:
    from grokfast.fisher.plan import FisherPlan

_FORMAT = "grokfast.fisher_diag/1"


class FisherDiagonal(dict[str, Tensor]):
    """Fisher diagonal by parameter name, each entry shaped like the parameter (with a leading axis E for a stack).

    Attributes:
        kind: Which labels.
        likelihood: Which distribution of labels.
        reduction: Mean or sum over samples.
        n: How many samples were seen.
        stacked: Whether the entries have a leading axis of members.
        plan: The plan that computed it, which says how each parameter was done; None when loaded from a file.
    """

    def __init__(
        self,
        entries: Mapping[str, Tensor],
        *,
        kind: Kind,
        likelihood: Likelihood,
        reduction: Reduction,
        n: int,
        stacked: bool = False,
        plan: FisherPlan | None = None,
    ) -> None:
        super().__init__(entries)
        self.kind = kind
        self.likelihood = likelihood
        self.reduction = reduction
        self.n = n
        self.stacked = stacked
        self.plan = plan

    def flat(self) -> Tensor:
        """All entries in one vector ``[P]`` (``[E, P]`` for a stack), in the order of the model's parameters."""
        if not self:
            return torch.zeros(0)
        return torch.cat([value.flatten(int(self.stacked)) for value in self.values()], -1)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, with what it is in the header; the file appears whole or not at all."""
        path = Path(path)
        about = {
            "format": _FORMAT,
            "kind": self.kind.value,
            "likelihood": self.likelihood.value,
            "reduction": self.reduction.value,
            "n": str(self.n),
            "stacked": str(int(self.stacked)),
            "names": json.dumps(list(self)),
        }
        partial = path.with_name(path.name + f".{os.getpid()}.partial")
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.items()}
        safetensors.torch.save_file(tensors, partial, metadata=about)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> FisherDiagonal:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: If the file is not a saved Fisher diagonal.
        """
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            about: dict[str, Any] = file.metadata() or {}
            if about.get("format") != _FORMAT:
                raise InputError(f"{path} must be a saved Fisher diagonal ({_FORMAT}), got {about.get('format')!r}")
            entries = {name: file.get_tensor(name) for name in json.loads(about["names"])}
        return cls(
            entries,
            kind=Kind(about["kind"]),
            likelihood=Likelihood(about["likelihood"]),
            reduction=Reduction(about["reduction"]),
            n=int(about["n"]),
            stacked=about["stacked"] == "1",
        )

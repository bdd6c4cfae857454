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
from torch import Tensor, nn

from grokfast._checks import check_non_negative
from grokfast._html import heading, table
from grokfast._plots import plot_with
from grokfast.checksums import digest_of, digest_of_arrays
from grokfast.errors import InputError
from grokfast.fisher.variants import Kind, Likelihood, Reduction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grokfast.fisher.plan import FisherPlan

_FORMAT = "grokfast.fisher_diag/1"
_ABOUT = {"format", "kind", "likelihood", "reduction", "n", "stacked", "names"}


def _check_names(what: str, mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    for name, value in mine.items():
        found = theirs.get(name)
        if found is None or found.shape != value.shape:
            got = "none" if found is None else list(found.shape)
            raise InputError(f"{what} must have '{name}' of shape {list(value.shape)}, got {got}")


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

    def __add__(self, other: object) -> FisherDiagonal:
        """Entry by entry, as the Fisher information of several tasks adds up; n is that of both together.

        Raises:
            InputError: If the other one is of another kind, likelihood, reduction or of other parameters.
        """
        if not isinstance(other, FisherDiagonal):
            return NotImplemented
        for what in ("kind", "likelihood", "reduction", "stacked"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise InputError(f"Fisher diagonals add up if they have one {what}, got {mine} and {theirs}")
        _check_names("the other Fisher diagonal", self, other)
        return self._with({name: value + other[name] for name, value in self.items()}, self.n + other.n)

    def __mul__(self, weight: float) -> FisherDiagonal:
        """Every entry times a weight of at least 0."""
        check_non_negative("weight", weight)
        return self._with({name: value * weight for name, value in self.items()}, self.n)

    __rmul__ = __mul__

    def _with(self, entries: Mapping[str, Tensor], n: int) -> FisherDiagonal:
        return FisherDiagonal(
            entries, kind=self.kind, likelihood=self.likelihood, reduction=self.reduction, n=n, stacked=self.stacked
        )

    def penalty(self, model: nn.Module | Mapping[str, Tensor], anchor: Mapping[str, Tensor]) -> Tensor:
        r"""The elastic penalty :math:`\tfrac12 \sum_i F_i (\theta_i - \theta^*_i)^2`, differentiable in the model.

        Args:
            model: The module that is being trained, or its parameters by name.
            anchor: The parameters that are to be remembered, by name.

        Returns:
            A scalar in nats (with ``reduction="mean"``: per sample); ``[E]`` for a stack.

        Raises:
            InputError: If a parameter of the diagonal is missing or has another shape.

        Source:
            Kirkpatrick et al., PNAS 114, 3521 (2017), eq. 3.
        """
        now = dict(model.named_parameters()) if isinstance(model, nn.Module) else model
        _check_names("the model", self, now)
        _check_names("the anchor", self, anchor)
        axes = int(self.stacked)
        parts = [
            (value * (now[name] - anchor[name].detach()).square()).flatten(axes).sum(-1) for name, value in self.items()
        ]
        return 0.5 * torch.stack(parts).sum(0)

    def plot(self) -> Figure:
        """The spectrum: all entries by size, of each parameter and of the whole; of a stack its first member's."""
        return plot_with("plot_fisher", self)

    def _repr_html_(self) -> str:
        whole = sum(float(value.double().sum()) for value in self.values())
        routes = {} if self.plan is None else self.plan.routes
        rows = []
        for name, value in self.items():
            total, route = float(value.double().sum()), routes.get(name)
            rows.append(
                (
                    name,
                    " × ".join(map(str, value.shape)),
                    f"{total / whole:.1%}" if whole else "-",
                    *(float(x) for x in (value.mean(), value.max())),
                    f"{float((value == 0).double().mean()):.1%}",
                    "" if route is None else f"{route.way}: {route.reason}",
                )
            )
        about = f"{self.kind}, {self.likelihood}, {self.reduction} over {self.n} samples"
        head = ("parameter", "shape", "share of the trace", "mean", "largest", "zero", "computed")
        return heading("Fisher diagonal", about) + table(head, rows, f"trace {whole:.4g}")

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, with what it is and a checksum in the header; it appears whole or not at all."""
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
        safetensors.torch.save_file(tensors, partial, metadata={**about, "sha256": _digest(tensors, about)})
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> FisherDiagonal:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: If the file is not a saved Fisher diagonal.
        """
        try:
            with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
                about: dict[str, Any] = file.metadata() or {}
                entries = {name: file.get_tensor(name) for name in json.loads(about.get("names", "[]"))}
        except OSError:
            raise
        except Exception as error:  # of a damaged file the reader raises anything
            raise InputError(f"{path} must be a saved Fisher diagonal ({_FORMAT}): {error}") from error
        if about.get("format") != _FORMAT:
            raise InputError(f"{path} must be a saved Fisher diagonal ({_FORMAT}), got {about.get('format')!r}")
        digest = about.pop("sha256", None)
        # Files of early versions have no checksum, and no other entries.
        if about.keys() != _ABOUT or digest not in (None, _digest(entries, about)):
            raise InputError(f"{path} is damaged: it is not what was saved")
        return cls(
            entries,
            kind=Kind(about["kind"]),
            likelihood=Likelihood(about["likelihood"]),
            reduction=Reduction(about["reduction"]),
            n=int(about["n"]),
            stacked=about["stacked"] == "1",
        )


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    arrays = {name: value.detach().cpu().reshape(-1).view(torch.uint8).numpy() for name, value in tensors.items()}
    kinds = {name: f"{value.dtype}:{list(value.shape)}" for name, value in tensors.items()}
    return digest_of({"arrays": digest_of_arrays(arrays), "kinds": kinds, "about": dict(about)})

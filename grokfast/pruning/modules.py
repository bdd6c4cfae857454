"""Pruning of ordinary modules: masks, pruned copies and curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from grokfast._checks import check_fraction
from grokfast._edge import edge
from grokfast._html import heading, lines, table
from grokfast._plots import plot_with
from grokfast.errors import InputError
from grokfast.models.copies import private_copy
from grokfast.pruning.curve import (
    compressibility,
    compressibility_bounds,
    compressibility_error,
    pruning_fractions,
    size_at_accuracy,
    size_at_drop,
)
from grokfast.pruning.order import PruningOrder, masked, pruning_order
from grokfast.pruning.schemes import Scheme
from grokfast.pruning.selection import Selection, pruning_selection, refresh_masked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWN, _SHOWN = 4, 20  # lines and rows in a notebook


@dataclass(frozen=True)
class PruningCurve:
    """Accuracy, and the loss where it was measured, against the share of parameters removed.

    Attributes:
        fractions: ``[F]``, rising from 0 to 1.
        accuracy: ``[..., F]`` in [0, 1].
        loss: ``[..., F]`` as it was measured, or None.
        left_out: Why a parameter was not pruned at all, by name; where a module was measured.
    """

    fractions: Tensor
    accuracy: Tensor
    loss: Tensor | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def compressibility(self) -> Tensor:
        """Compressibility 1 / (1 - area), see :func:`compressibility`."""
        return compressibility(self.fractions, self.accuracy)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """What the grid leaves open of c, see :func:`compressibility_bounds`."""
        return compressibility_bounds(self.fractions, self.accuracy)

    @property
    def error(self) -> Tensor:
        """Richardson's estimate of the grid's error in c, see :func:`compressibility_error`."""
        return compressibility_error(self.fractions, self.accuracy)

    def size_at_drop(self, drop: float = 0.05) -> Tensor:
        """Smallest share left that keeps ``1 - drop`` of the unpruned accuracy."""
        return size_at_drop(self.fractions, self.accuracy, drop)

    def size_at_accuracy(self, accuracy: float = 0.95) -> Tensor:
        """Smallest share left with at least this accuracy."""
        return size_at_accuracy(self.fractions, self.accuracy, accuracy)

    def plot(self) -> Figure:
        """Accuracy against the share removed, one line a member."""
        return plot_with("plot_pruning_curve", self)

    def _repr_html_(self) -> str:
        curves = self.accuracy.reshape(-1, len(self.fractions))
        low, high = (bound.reshape(-1) for bound in self.bounds)
        rows = [
            (index, float(curve[0]), float(c), f"{float(a):.3g} to {float(b):.3g}", f"{float(size):.1%}")
            for index, (curve, c, a, b, size) in enumerate(
                zip(curves, self.compressibility.reshape(-1), low, high, self.size_at_drop().reshape(-1), strict=True)
            )
        ]
        picture = lines(curves[:_DRAWN].tolist(), 0.0, 1.0, "accuracy against the share removed")
        head = ("member", "accuracy whole", "c", "c within", "size at a 5 % drop")
        left = f"not pruned: {', '.join(self.left_out)}" if self.left_out else ""
        return heading("Pruning curve", f"{len(self.fractions)} fractions") + picture + table(head, rows[:_SHOWN], left)


@edge
def pruning_masks(
    model: nn.Module,
    fraction: float,
    scheme: str | Scheme = Scheme.LAYERWISE,
    *,
    names: Sequence[str] | None = None,
    fisher: Mapping[str, Tensor] | None = None,
    gradients: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Masks of a module at one fraction, as ``torch.nn.utils.prune.custom_from_mask`` takes them.

    A layer that ``torch.nn.utils.prune`` has pruned before is ranked by its effective weight, times its mask.

    Args:
        model: Any module.
        fraction: Share of the parameters to remove, in [0, 1].
        scheme: What goes first.
        names: Which parameters; see :func:`pruning_order`.
        fisher: For the Fisher schemes: what ``fisher_diag(model, ...)`` returned.
        gradients: For the Taylor schemes: gradients of the loss by parameter name.
        generator: For random pruning.

    Returns:
        Ones and zeros by parameter name, of the parameters' shapes and dtypes; only those that the scheme prunes.

    Raises:
        InputError: As :func:`pruning_order`, or if the fraction lies outside [0, 1].
    """
    params = dict(model.named_parameters())
    order, _ = _order(model, scheme, names, fisher, gradients, generator)
    return {name: mask[0].to(params[name].dtype) for name, mask in order.masks(fraction).items()}


@edge
def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a module with zeros where masks are zero; the module itself stays as it is.

    Args:
        model: Any module.
        masks: Ones and zeros by parameter name.

    Returns:
        The copy.

    Raises:
        InputError: If a mask belongs to no parameter or has another shape.
    """
    pruned = private_copy(model, own=True)
    _overwrite(pruned, masked(dict(model.named_parameters()), masks))
    return pruned


@edge
def prune_module(
    model: nn.Module,
    fraction: float,
    scheme: str | Scheme = Scheme.LAYERWISE,
    *,
    names: Sequence[str] | None = None,
    fisher: Mapping[str, Tensor] | None = None,
    gradients: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """A pruned copy of a module; arguments as of :func:`pruning_masks`."""
    masks = pruning_masks(model, fraction, scheme, names=names, fisher=fisher, gradients=gradients, generator=generator)
    return apply_masks(model, masks)


@edge
def measure_pruning(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    scheme: str | Scheme = Scheme.LAYERWISE,
    *,
    fractions: Tensor | Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    fisher: Mapping[str, Tensor] | None = None,
    gradients: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> PruningCurve:
    """Pruning curve of any module: its accuracy with more and more parameters removed.

    Args:
        model: Any module; it is copied once and not changed.
        evaluate: Accuracy in [0, 1] (not in percent) of the module it is given, which it must not keep or change.
        scheme: What goes first.
        fractions: ``[F]`` rising from 0 to 1, a tensor or a list; by default 0, 0.01, ..., 1.
        names: Which parameters; see :func:`pruning_order`.
        fisher: For the Fisher schemes: what ``fisher_diag(model, ...)`` returned.
        gradients: For the Taylor schemes: gradients of the loss by parameter name.
        generator: For random pruning.

    Returns:
        The curve.

    Raises:
        InputError: As :func:`pruning_selection` and :func:`pruning_order`, if a fraction lies outside [0, 1], or at the
            first accuracy that does.
    """
    grid = pruning_fractions() if fractions is None else torch.as_tensor(fractions, dtype=torch.float64)
    if grid.dim() != 1 or not len(grid):
        raise InputError(f"fractions must be [F] with at least one of them, got shape {list(grid.shape)}")
    for fraction in grid:
        check_fraction("pruned fraction", float(fraction), closed=True)
    params = {name: tensor.detach() for name, tensor in model.named_parameters()}
    order, selection = _order(model, scheme, names, fisher, gradients, generator)
    working = private_copy(model, own=True)
    found: list[float] = []
    for fraction in grid:
        masks = {name: mask[0] for name, mask in order.masks(float(fraction)).items()}
        _overwrite(working, masked(params, masks))
        found.append(_accuracy(evaluate(working)))
    return PruningCurve(grid, torch.tensor(found, dtype=torch.float64), left_out=selection.left_out)


def _accuracy(value: object) -> float:
    accuracy = float(value)  # type: ignore[arg-type]
    if not 0 <= accuracy <= 1:
        hint = "; divide percent by 100" if 1 < accuracy <= 100 else ""
        raise InputError(f"evaluate must return an accuracy in [0, 1], got {accuracy:g}{hint}")
    return accuracy


def _order(
    model: nn.Module,
    scheme: str | Scheme,
    names: Sequence[str] | None,
    fisher: Mapping[str, Tensor] | None,
    gradients: Mapping[str, Tensor] | None,
    generator: torch.Generator | None,
) -> tuple[PruningOrder, Selection]:
    selection = pruning_selection(model, scheme, names=names, fisher=fisher)
    for name, tensor in selection.values.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"parameters must be finite, got {int((~tensor.isfinite()).sum())} in {name} that are not")
    order = pruning_order(
        {name: tensor[None] for name, tensor in selection.values.items()},
        scheme,
        names=selection.names,
        fisher=None if fisher is None else {name: values[None] for name, values in fisher.items()},
        gradients=None if gradients is None else {name: values[None] for name, values in gradients.items()},
        generators=None if generator is None else [generator],
    )
    return order, selection


def _overwrite(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values[name])
        refresh_masked(model)

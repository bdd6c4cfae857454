"""From scores to exact ranks, and from ranks to masks at any fraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokfast._checks import check_fraction, parse_choice
from grokfast._edge import check_members, edge, rows
from grokfast.errors import InputError
from grokfast.models import Params, member_count
from grokfast.pruning.schemes import Scheme, layers_of, weight_names


def pruned_count(fraction: float, size: int) -> int:
    r"""Number of weights removed at a fraction: :math:`\lfloor p\,n \rfloor`.

    A product within rounding of a whole number counts as that number: 29 of 100 at p = 0.29, although
    ``0.29 * 100`` is 28.999... in floating point.
    """
    return int(fraction * size * (1 + 1e-12) + 1e-12)


@edge
def ranks_of(scores: Tensor) -> Tensor:
    """Rank of every score, 0 the smallest; ties go by index.

    Args:
        scores: ``[E, n]``; NaN counts as larger than every number, so that a network that diverged has ranks too.

    Returns:
        int64 ``[E, n]``.

    Raises:
        InputError: If they have other axes.
    """
    if scores.dim() != 2:
        raise InputError(f"scores must be [E, n], got {list(scores.shape)}")
    order = torch.argsort(scores, dim=1, stable=True)
    ranks = torch.empty_like(order)
    return ranks.scatter_(1, order, torch.arange(scores.shape[1], device=scores.device).expand_as(order))


@dataclass(frozen=True)
class PruningOrder:
    r"""The order in which the parameters of a stack are removed.

    At fraction p the :math:`\lfloor p\,n \rfloor` lowest ranks of every group of n parameters go. The masks are nested:
    what is removed stays removed at larger fractions.

    Attributes:
        ranks: Rank of each parameter inside its group, int32 ``[E, ...]`` by name; those not named are never pruned.
        sizes: Size n of the group that each named tensor belongs to.
    """

    ranks: Params
    sizes: Mapping[str, int]

    def masks(self, fraction: float) -> Params:
        """True where a parameter stays: ``[E, ...]`` by name, for the tensors that are pruned.

        Args:
            fraction: p in [0, 1].

        Raises:
            InputError: If the fraction lies outside [0, 1].
        """
        check_fraction("fraction", fraction, closed=True)
        return {name: ranks >= pruned_count(fraction, self.sizes[name]) for name, ranks in self.ranks.items()}

    def prune(self, params: Mapping[str, Tensor], fraction: float) -> Params:
        """All members at one fraction.

        Args:
            params: Stacked parameters ``[E, ...]``.
            fraction: p in [0, 1].

        Returns:
            New parameters; those not pruned are shared.

        Raises:
            InputError: If the fraction lies outside [0, 1], or the parameters are of other shapes than the ranks.
        """
        return masked(params, self.masks(fraction))

    def arrivals(self, params: Mapping[str, Tensor], fractions: Tensor) -> Params:
        """When each parameter comes in as the fraction falls: the number of fractions at which it is pruned.

        Of the networks pruned by ``fractions``, from the largest fraction to the smallest, network k has the parameters
        whose arrival is at most k.

        Args:
            params: Stacked parameters ``[E, ...]``.
            fractions: ``[F]`` in [0, 1], in any order.

        Returns:
            int32 in ``0 .. F`` of the shapes and storage order of ``params``; 0 for what is never pruned.

        Raises:
            InputError: If a fraction lies outside [0, 1].
        """
        shares = [float(fraction) for fraction in fractions]
        for share in shares:
            check_fraction("pruned fraction", share, closed=True)
        found = {}
        for name, tensor in params.items():
            found[name] = torch.zeros_like(tensor, dtype=torch.int32)
            if name in self.ranks:
                counts = torch.tensor([pruned_count(share, self.sizes[name]) for share in shares], dtype=torch.int64)
                kept = torch.bincount(counts, minlength=self.sizes[name] + 1).cumsum(0)  # by rank: counts up to it
                pruned = (len(shares) - kept).to(torch.int32).to(tensor.device)
                found[name].copy_(pruned[self.ranks[name].long()])
        return found

    def variants(self, params: Mapping[str, Tensor], index: int, fractions: Sequence[float]) -> Params:
        """One member at ``K`` fractions, as a stack ``[K, ...]``.

        Args:
            params: Stacked parameters ``[E, ...]``.
            index: Which member.
            fractions: K values in [0, 1].
        """
        found = {}
        for name, tensor in params.items():
            own = tensor[index : index + 1].detach()
            if name not in self.ranks:
                # Copies in the storage order of the stack, as the compiled kernels read them.
                shape, stride = (len(fractions), *own.shape[1:]), (own.numel(), *own.stride()[1:])
                found[name] = own.new_empty_strided(shape, stride).copy_(own)
                continue
            counts = [pruned_count(fraction, self.sizes[name]) for fraction in fractions]
            least = torch.tensor(counts, dtype=torch.int32, device=tensor.device)
            keep = self.ranks[name][index : index + 1] >= least.view(-1, *[1] * (tensor.dim() - 1))
            found[name] = torch.where(keep, own, own.new_zeros(()))
        return found


@edge
def masked(params: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Params:
    """Parameters with zeros where their mask is false (or 0).

    Args:
        params: Parameters by name.
        masks: Masks by name, of the shapes of their parameters.

    Returns:
        New parameters; those without a mask are shared.

    Raises:
        InputError: If a mask belongs to no parameter, has another shape, or holds values other than 0 and 1.
    """
    for name, mask in masks.items():
        if name not in params:
            raise InputError(f"masks must belong to parameters {list(params)}, got one for {name!r}")
        if mask.shape != params[name].shape:
            raise InputError(f"the mask of {name} must be {list(params[name].shape)}, got {list(mask.shape)}")
        if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
            raise InputError(f"the mask of {name} must hold 0 and 1 only")
    return {
        name: torch.where(masks[name].bool(), tensor.detach(), tensor.new_zeros(())) if name in masks else tensor
        for name, tensor in params.items()
    }


@edge
def pruning_order(
    params: Mapping[str, Tensor],
    scheme: str | Scheme = Scheme.LAYERWISE,
    *,
    names: Sequence[str] | None = None,
    fisher: Mapping[str, Tensor] | None = None,
    gradients: Mapping[str, Tensor] | None = None,
    generators: Sequence[torch.Generator] | None = None,
) -> PruningOrder:
    """The order in which a scheme removes the parameters of every member of a stack.

    Ranks are exact. Equal scores go by index: tensors in the order of ``params``, entries of a tensor in row-major
    order. A layer is a weight with its bias (:func:`layers_of`), so a group never reaches into the next layer.

    Args:
        params: Stacked parameters ``[E, ...]``.
        scheme: A :class:`Scheme` or its value.
        names: Which parameters to prune. By default magnitude and random pruning take the weight matrices, kernels
            and embeddings (biases stay; a network without any matrix gives all its parameters), Fisher pruning takes
            every parameter, biases included, as the paper says "parameters".
        fisher: Fisher diagonal ``[E, ...]`` by name, for the Fisher schemes.
        gradients: Gradients of the loss ``[E, ...]`` by name, for the Taylor schemes.
        generators: One for each member, for random pruning.

    Returns:
        The order.

    Raises:
        InputError: If names are unknown or none, or a Fisher diagonal is missing, of other shapes or not finite.

    Source:
        arXiv 2502.01739, sec. on compressibility and figs. 21 to 27.
    """
    scheme = parse_choice("scheme", scheme, Scheme)
    check_members("params", params)
    chosen = _chosen(params, scheme, names)
    for name in chosen:
        if not params[name].is_floating_point():
            raise InputError(f"{name} must be floating-point to be pruned, got {params[name].dtype}")
    scores = _scores(params, scheme, chosen, fisher, gradients, generators)
    groups = [chosen] if scheme.is_global else list(layers_of(chosen).values())
    ranks: Params = {}
    sizes: dict[str, int] = {}
    for group in groups:
        together = ranks_of(torch.cat([rows(scores[name]) for name in group], 1))
        parts = torch.split(together, [params[name][0].numel() for name in group], 1)
        for name, part in zip(group, parts, strict=True):
            # Ranks take the storage order of their weights, so that what is pruned by them keeps it too.
            ranks[name] = torch.empty_like(params[name], dtype=torch.int32).copy_(part.reshape(params[name].shape))
            sizes[name] = together.shape[1]
    return PruningOrder(ranks, sizes)


def _chosen(params: Mapping[str, Tensor], scheme: Scheme, names: Sequence[str] | None) -> list[str]:
    if names is None:
        chosen = list(params) if scheme.uses_fisher else weight_names(params)
    else:
        chosen = [name for name in params if name in names]
    unknown = [name for name in names or () if name not in params]
    if unknown or not chosen:
        got = chosen if names is None else list(names)
        raise InputError(f"expected names of parameters to prune among {list(params)}, got {got}")
    return chosen


def _fitting(what: str, given: Mapping[str, Tensor], params: Mapping[str, Tensor], chosen: Sequence[str]) -> Params:
    """What is given for every chosen parameter, if it fits."""
    for name in chosen:
        mine = given.get(name)
        if mine is None or mine.shape != params[name].shape:
            got = "none" if mine is None else list(mine.shape)
            raise InputError(f"the {what} of {name} must be {list(params[name].shape)}, got {got}")
        if not mine.isfinite().all():
            raise InputError(f"the {what} of {name} must be finite")
    return {name: given[name].detach() for name in chosen}


def _scores(
    params: Mapping[str, Tensor],
    scheme: Scheme,
    chosen: Sequence[str],
    fisher: Mapping[str, Tensor] | None,
    gradients: Mapping[str, Tensor] | None,
    generators: Sequence[torch.Generator] | None,
) -> Params:
    if scheme.uses_fisher:
        if fisher is None:
            raise InputError(f"scheme {scheme.value!r} needs fisher=, a Fisher diagonal by parameter name")
        return _fitting("Fisher diagonal", fisher, params, chosen)
    if scheme.uses_gradients:
        if gradients is None:
            raise InputError(f"scheme {scheme.value!r} needs gradients=, gradients of the loss by parameter name")
        found = _fitting("gradient", gradients, params, chosen)
        # In float64, or products of different numbers would tie at 0.
        return {name: (found[name].double() * params[name].detach().double()).abs() for name in chosen}
    if scheme is Scheme.RANDOM:
        members = member_count(params)
        if generators is None or len(generators) != members:
            count = "none" if generators is None else f"{len(generators)}"
            raise InputError(f"random pruning needs one generator per member, {members}, got {count}")
        return {
            name: torch.stack(
                [torch.rand(params[name].shape[1:], generator=one, dtype=torch.float64) for one in generators]
            ).to(params[name].device)
            for name in chosen
        }
    sizes = {name: params[name].detach().abs() for name in chosen}
    if scheme is not Scheme.GLOBAL_BY_NORM:
        return sizes
    found = {}
    for name, size in sizes.items():
        # In float64, or division would make ties of different weights. A layer of zeros keeps its zeros.
        norm = rows(size.double()).norm(dim=1).view(-1, *[1] * (size.dim() - 1))
        found[name] = size.double() / torch.where(norm > 0, norm, 1.0)
    return found

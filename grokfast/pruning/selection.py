"""Which parameters of a module a scheme prunes, which it leaves out and why, and by what they are ranked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from grokfast._checks import nearest, parse_choice
from grokfast._edge import edge
from grokfast.errors import InputError
from grokfast.pruning.schemes import Scheme, weight_names


@dataclass(frozen=True)
class Selection:
    """What a scheme prunes of a module.

    Attributes:
        names: Parameters that are pruned.
        left_out: Reason by name for every other parameter.
        values: Every parameter as the network uses it: after ``torch.nn.utils.prune``, times its mask.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str]
    values: Mapping[str, Tensor]

    def __str__(self) -> str:
        width = max(map(len, (*self.names, *self.left_out)), default=0)
        rows = [f"{name:{width}}  pruned" for name in self.names]
        return "\n".join(rows + [f"{name:{width}}  stays: {reason}" for name, reason in self.left_out.items()])


@edge
def pruning_selection(
    model: nn.Module,
    scheme: str | Scheme = Scheme.LAYERWISE,
    *,
    names: Sequence[str] | None = None,
    fisher: Mapping[str, Tensor] | None = None,
) -> Selection:
    """Which parameters of a module a scheme prunes; print it.

    Args:
        model: Any module.
        scheme: What goes first.
        names: Which parameters; by default the weight matrices and kernels, or for the Fisher schemes every
            parameter that the Fisher diagonal has.
        fisher: For the Fisher schemes.

    Returns:
        The selection.

    Raises:
        InputError: If names are unknown or none, or a layer's weight is computed from other parameters (weight norm,
            spectral norm, a parametrisation): zeros in those are no zeros in the weight.
    """
    scheme = parse_choice("scheme", scheme, Scheme)
    params = dict(model.named_parameters())
    computed = dict(_computed(model))
    values = {name: tensor.detach() for name, tensor in params.items()}
    values |= {f"{where}_orig": values[f"{where}_orig"] * mask.detach() for where, mask in _masks(model)}
    chosen = list(params) if names is None else [name for name in params if name in names]
    left_out: dict[str, str] = {name: "not among names=" for name in params if name not in chosen}
    unknown = [name for name in names or () if name not in params]
    if unknown:
        raise InputError(
            f"expected names of parameters to prune among {list(params)}, got {unknown}{nearest(unknown[0], params)}"
        )
    if names is None and scheme.uses_fisher and fisher is not None:
        left_out = {name: "not in the Fisher diagonal: frozen" for name in params if name not in fisher}
    elif names is None and not scheme.uses_fisher:
        weights = set(weight_names(params, stacked=False)) | {name for name in computed if params[name].dim() > 1}
        left_out = {name: _why_not(name, params[name]) for name in params if name not in weights}
    chosen = [name for name in chosen if name not in left_out]
    for name in chosen:
        if name in computed:
            raise InputError(
                f"'{name}' is not a weight that the network uses: {computed[name]}. Remove that first "
                "(torch.nn.utils.remove_weight_norm, remove_spectral_norm, parametrize.remove_parametrizations), or "
                "leave the layer out by names="
            )
    if not chosen:
        raise InputError(f"expected names of parameters to prune among {list(params)}, got {list(names or ())}")
    return Selection(tuple(chosen), left_out, values)


def refresh_masked(model: nn.Module) -> None:
    """Set what ``torch.nn.utils.prune`` keeps as a product to the product of what it is made of now."""
    modules = dict(model.named_modules())
    for where, mask in _masks(model):
        path, _, base = where.rpartition(".")
        setattr(modules[path], base, getattr(modules[path], f"{base}_orig") * mask)


def _why_not(name: str, p: Tensor) -> str:
    if p.dim() < 2:
        return "a bias or another vector: magnitude pruning takes weight matrices and kernels"
    return "not called a weight; name it in names= to prune it"


def _masks(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Masks of ``torch.nn.utils.prune``, by the name of what they mask."""
    params = dict(model.named_parameters())
    for name, buffer in model.named_buffers():
        where = name.removesuffix("_mask")
        if where != name and f"{where}_orig" in params:
            yield where, buffer


def _computed(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Parameters that a weight is computed from otherwise than by a mask, and what does it."""
    params, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    for name in params:
        layer, _, last = name.partition(".parametrizations.")
        if last:
            yield name, f"'{layer}' has a parametrisation of '{last.split('.')[0]}'"
        base = name[:-2]
        if name.endswith(("_g", "_v")) and f"{base}_g" in params and f"{base}_v" in params:
            yield name, f"'{base}' is under weight_norm"
        if name.endswith("_orig") and f"{name.removesuffix('_orig')}_u" in buffers:
            yield name, f"'{name.removesuffix('_orig')}' is under spectral_norm"

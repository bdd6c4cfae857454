"""Per-sample gradients of any model: through ``torch.func`` in chunks, or one sample at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from grokfast.errors import InputError

_CHUNK = 1 << 24  # elements of per-sample gradients held at once


def run_model(model: nn.Module, state: Mapping[str, Tensor] | None, args: tuple[Tensor, ...]) -> Tensor:
    """The model's outputs, with its own parameters or with those in ``state``."""
    if state is None:
        return model(*args)  # type: ignore[no-any-return]
    return functional_call(model, dict(state), args)  # type: ignore[no-any-return]


def per_sample_vmap(
    model: nn.Module,
    state: Mapping[str, Tensor] | None,
    params: Mapping[str, Tensor],
    args: tuple[Tensor, ...],
    columns: Tensor,
) -> dict[str, Tensor]:
    """Gradients ``[n, K, *shape]`` of ``f_n . columns[k, n]``, by reverse mode under ``vmap``."""
    fixed = dict(state or {})

    def one(sample: tuple[Tensor, ...], sides: Tensor) -> dict[str, Tensor]:
        def outputs(leaves: dict[str, Tensor]) -> Tensor:
            out: Tensor = functional_call(model, {**fixed, **leaves}, tuple(a.unsqueeze(0) for a in sample))
            return out[0]

        pull = vjp(outputs, {name: p.detach() for name, p in params.items()})[1]
        found: dict[str, Tensor] = vmap(lambda side: pull(side)[0])(sides)
        return found

    # Without gradients around it, so that no graph reaches the parameters that are held fixed.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an operation without a batching rule runs in a loop: slow, not wrong
        found: dict[str, Tensor] = vmap(one)(args, columns.movedim(0, 1))
        return found


def per_sample_loop(
    model: nn.Module,
    state: Mapping[str, Tensor] | None,
    params: Mapping[str, Tensor],
    args: tuple[Tensor, ...],
    columns: Tensor,
) -> dict[str, Tensor]:
    """The same numbers, one sample and one column at a time."""
    names, leaves = list(params), list(params.values())
    out = {name: p.new_zeros(args[0].shape[0], len(columns), *p.shape) for name, p in params.items()}
    for n in range(args[0].shape[0]):
        outputs = run_model(model, state, tuple(a[n : n + 1] for a in args))
        if not outputs.requires_grad:
            continue
        for k in range(len(columns)):
            grads = torch.autograd.grad(
                (outputs[0] * columns[k, n]).sum(), leaves, retain_graph=True, allow_unused=True
            )
            for name, grad in zip(names, grads, strict=True):
                if grad is not None:
                    out[name][n, k] = grad
    return out


def chunks(n: int, columns: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Slices of samples and columns so that no more than a fixed number of gradient elements is held at once."""
    per_step = max(1, min(columns, _CHUNK // max(1, width)))
    step = max(1, _CHUNK // max(1, width * per_step))
    for start in range(0, n, step):
        for first in range(0, columns, per_step):
            yield slice(start, start + step), slice(first, first + per_step)


def squares(
    model: nn.Module,
    state: Mapping[str, Tensor] | None,
    params: Mapping[str, Tensor],
    args: tuple[Tensor, ...],
    columns: Sequence[Tensor],
    loop: bool,
) -> dict[str, Tensor]:
    """The sum over samples and columns of squared gradients of ``params``, in bounded memory."""
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in params.items()}
    if not columns or args[0].shape[0] == 0:
        return total
    width = sum(p.numel() for p in params.values())
    for rows, some in chunks(args[0].shape[0], len(columns), width):
        sides = torch.stack([c[rows] for c in columns[some]])
        some_args = tuple(a[rows] for a in args)
        grads = None if loop else _try_vmap(model, state, params, some_args, sides)
        if grads is None:
            grads = per_sample_loop(model, state, params, some_args, sides)
        for name, grad in grads.items():
            total[name] += grad.square().flatten(0, 1).sum(0)
    return total


def _try_vmap(
    model: nn.Module,
    state: Mapping[str, Tensor] | None,
    params: Mapping[str, Tensor],
    args: tuple[Tensor, ...],
    columns: Tensor,
) -> dict[str, Tensor] | None:
    """Gradients by ``vmap``, or None if the model takes a turn with these samples that it cannot follow."""
    try:
        return per_sample_vmap(model, state, params, args, columns)
    except InputError:
        raise
    except Exception:  # whatever a model may raise under vmap; the loop raises it again if it is the model's own
        return None


def vmap_failure(
    model: nn.Module,
    state: Mapping[str, Tensor] | None,
    params: Mapping[str, Tensor],
    args: tuple[Tensor, ...],
    column: Tensor,
) -> str:
    """Why ``vmap`` cannot be used on this model, or an empty string: it is tried on two samples beside the loop."""
    args, column = tuple(a[:2] for a in args), column[None, :2]
    try:
        fast = per_sample_vmap(model, state, params, args, column)
    except InputError:
        raise
    except Exception as error:  # whatever a model may raise under vmap
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120]}" if str(error) else type(error).__name__
    slow = per_sample_loop(model, state, params, args, column)
    for name, expected in slow.items():
        bound = 1e-3 if expected.dtype == torch.float32 else 1e-8
        if not torch.allclose(fast[name], expected, rtol=bound, atol=bound * float(expected.abs().max() + 1e-30)):
            return f"its gradient of '{name}' differs from autograd's"
    return ""

"""What has no Fisher diagonal at all, and the state of torch around a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from grokfast.errors import InputError
from grokfast.ops.precision import full_float32

_DTYPES = (torch.float32, torch.float64)


@contextmanager
def plain_torch(device: torch.device) -> Iterator[None]:
    """Gradients on, autocast and inference mode off, in this thread; no TF32 on CUDA."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if _needs_full_float32(device):
            stack.enter_context(full_float32())
        yield


def _needs_full_float32(device: torch.device) -> bool:
    return device.type == "cuda"


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters to differentiate, after checking that they can be.

    Raises:
        InputError: If the model is no module, has nothing trainable, or mixes dtypes or devices.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    every = dict(model.named_parameters())
    found = {name: p for name, p in every.items() if p.requires_grad}
    if not found:
        raise InputError("the model has no parameter with requires_grad=True, so there is nothing to differentiate")
    lazy = [n for n, p in every.items() if isinstance(p, nn.parameter.UninitializedParameter)]
    if lazy:
        raise InputError(f"parameter '{lazy[0]}' has no shape yet; run the model once before")
    kinds = {(p.dtype, p.device) for p in found.values()}
    if len(kinds) > 1:
        raise InputError(
            "all trainable parameters must share one dtype and device, got "
            f"{sorted(map(str, kinds))}; move, cast or freeze"
        )
    dtype, device = kinds.pop()
    others = {str(p.device) for p in every.values()} - {str(device)}
    if others:
        raise InputError(f"all parameters must share one device, got {device} and {sorted(others)}; move the model")
    if dtype not in _DTYPES:
        raise InputError(f"parameters must be float32 or float64, got {dtype}; use model.float()")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"the model must be on CPU or CUDA, got {device}")
    return found


def check_modes(model: nn.Module) -> None:
    """Raise for modules whose training mode has no per-sample meaning; names the first one."""
    for name, module in model.named_modules():
        where = f"'{name or type(module).__name__}'"
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise InputError(
                f"{where} ({type(module).__name__}) would use batch statistics, which couple the "
                "samples, so a "
                "per-sample gradient has no meaning; call model.eval() (and keep track_running_stats=True)"
            )
        active = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        active = active or (isinstance(module, nn.MultiheadAttention) and module.dropout > 0)
        active = active or (isinstance(module, nn.RNNBase) and module.dropout > 0)
        if (active or isinstance(module, nn.RReLU)) and module.training:
            raise InputError(
                f"{where} ({type(module).__name__}) is in training mode, so the answer would be "
                "that of one random "
                "mask; call model.eval()"
            )


def name_non_finite(model: nn.Module, run: Callable[[], object]) -> str:
    """The first module, innermost first, whose output is not finite in a run of a private copy; empty if none is."""
    names = {id(module): name for name, module in model.named_modules()}
    found: list[str] = []

    def look(module: nn.Module, _: object, output: object) -> None:
        if found or not isinstance(output, Tensor) or not output.is_floating_point():
            return
        if not bool(torch.isfinite(output).all()):
            name = names.get(id(module), "")
            found.append(f"layer '{name}' ({type(module).__name__})" if name else f"the {type(module).__name__}")

    handles = [module.register_forward_hook(look) for module in model.modules()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""


def raise_non_finite(where: str) -> None:
    """The error for NaN or infinity inside the model."""
    raise InputError(
        f"non-finite activations: the output of {where} holds NaN or infinity; look at the weights "
        "and the scale of "
        "the inputs there"
    )

"""What must not change while a model is looked at, and what has no Fisher diagonal at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from grokfast.errors import InputError

_DTYPES = (torch.float32, torch.float64)


@contextmanager
def same_buffers(model: nn.Module) -> Iterator[None]:
    """Keep the buffers of a model and their values."""
    buffers = [
        (module, name, value, value.clone(), value._version)
        for module in model.modules()
        for name, value in module._buffers.items()
        if value is not None
    ]
    try:
        yield
    finally:
        for module, name, value, saved, version in buffers:
            if value._version != version:
                with torch.no_grad():
                    value.copy_(saved)
            module._buffers[name] = value


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Keep buffers, random number generators, autocast and gradient mode as they are."""
    cuda = sorted({b.device.index or 0 for b in model.parameters() if b.device.type == "cuda"})
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda") if cuda else ("cpu",):
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(same_buffers(model))
        yield


class RandomWatch:
    """Tells whether random numbers have been drawn since it was made."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._states = self._read()

    def _read(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def check(self) -> None:
        """Raise if they have."""
        if any(not torch.equal(a, b) for a, b in zip(self._states, self._read(), strict=True)):
            raise InputError(
                "the model draws random numbers when it runs, so its Fisher diagonal would be that "
                "of one draw; "
                "call model.eval(), or make the noise an input"
            )


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
    lazy = [n for n, p in found.items() if isinstance(p, nn.parameter.UninitializedParameter)]
    if lazy:
        raise InputError(f"parameter '{lazy[0]}' has no shape yet; run the model once before")
    kinds = {(p.dtype, p.device) for p in every.values()}
    if len(kinds) > 1:
        raise InputError(
            f"all parameters must share one dtype and device, got {sorted(map(str, kinds))}; move or cast the model"
        )
    dtype, device = kinds.pop()
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


def name_non_finite(model: nn.Module, args: tuple[Tensor, ...], state: Mapping[str, Tensor] | None = None) -> str:
    """The first module, innermost first, whose output is not finite for these inputs; empty if there is none."""
    names = {id(module): name for name, module in model.named_modules()}
    found: list[str] = []

    def look(module: nn.Module, _: object, output: object) -> None:
        if found or not isinstance(output, Tensor) or not output.is_floating_point():
            return
        if not bool(torch.isfinite(output).all()):
            name = names.get(id(module), "")
            found.append(f"layer '{name}' ({type(module).__name__})" if name else f"the {type(module).__name__}")

    handle = nn.modules.module.register_module_forward_hook(look)
    try:
        with torch.no_grad():
            functional_call(model, dict(state or {}), args)
    finally:
        handle.remove()
    return found[0] if found else ""


def raise_non_finite(where: str) -> None:
    """The error for NaN or infinity inside the model."""
    raise InputError(
        f"non-finite activations: the output of {where} holds NaN or infinity; look at the weights "
        "and the scale of "
        "the inputs there"
    )

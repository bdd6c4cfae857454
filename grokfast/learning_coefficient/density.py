"""The loss as a function of parameters, for rows of a stack: value and gradient on the whole data, or on a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from grokfast._generators import generator_kept
from grokfast.errors import InputError
from grokfast.models import Params

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Takes outputs ``[N, ...]`` and targets ``[N, ...]`` and returns the mean over samples, a scalar."""

_SAMPLES_AT_ONCE = 4096
_TRIED = 16  # samples on which the loss is checked


class Density(Protocol):
    """The data terms ``L_n`` of the local posteriors of E networks of one architecture.

    Parameters come as rows ``[R, ...]``, R a multiple of E: all chains of the first network, then of the next.
    """

    @property
    def samples(self) -> int:
        """How many samples n each loss is the mean over."""
        ...

    @property
    def center(self) -> Params:
        """The parameters w* of the networks as given, ``[E, ...]``."""
        ...

    def only(self, nets: Sequence[int]) -> Density:
        """That of some of the networks, by number."""
        ...

    def loss(self, params: Params) -> Tensor:
        """Mean loss on all samples ``[R]``, float64, of parameters ``[R, ...]``."""
        ...

    def gradient(self, params: Params, out: Params, batch: Tensor | None = None) -> Tensor:
        """The loss ``[R]``, float64, and its gradient into ``out``.

        Args:
            params: Parameters ``[R, ...]``.
            out: Tensors of the same shapes.
            batch: Samples ``[R, m]`` that each row takes instead of all.
        """
        ...


class ModuleDensity:
    """Any module with any loss, one row after the other: a row's bits do not depend on the others.

    The module is copied, with its buffers, and the copy is put into evaluation mode.

    Args:
        model: The network at w*.
        loss_fn: Its loss, a mean over samples.
        inputs: ``[n, ...]``.
        targets: ``[n, ...]``.

    Raises:
        InputError: If there are fewer than two samples, samples and targets do not match, a parameter or the loss is
            not finite, parameters are not all float32 or all float64 in the CPU's memory, the loss is no mean over
            samples, or the module is in training mode and acts differently there, or at random.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction, inputs: Tensor, targets: Tensor) -> None:
        _check_mode(model)
        if len(inputs) != len(targets) or len(inputs) < 2:
            raise InputError(
                f"inputs and targets must be the same two or more samples, got {len(inputs)} and {len(targets)}"
            )
        self._model = copy.deepcopy(model).eval()
        self._loss_fn, self._inputs, self._targets = loss_fn, inputs, targets
        parameters = dict(self._model.named_parameters())
        self._center = {name: p.detach().clone() for name, p in parameters.items() if p.requires_grad}
        if not self._center:
            raise InputError("the module has no trainable parameter")
        _check_parameters(parameters)
        tried = torch.linspace(0, len(inputs) - 1, min(_TRIED, len(inputs))).long()
        self._check_outputs(model, inputs[tried])
        self._check_mean(inputs[tried], targets[tried])

    @property
    def samples(self) -> int:
        """How many samples the loss is the mean over."""
        return len(self._inputs)

    @property
    def center(self) -> Params:
        """The trainable parameters as given, a stack of one."""
        return {name: tensor[None] for name, tensor in self._center.items()}

    def only(self, nets: Sequence[int]) -> ModuleDensity:
        """Itself: it is one network's."""
        return self

    def loss(self, params: Params) -> Tensor:
        """Mean loss of each row ``[R]`` on all samples."""
        with torch.no_grad():
            return torch.stack([self._blocks(member) for member in _members(params)])

    def gradient(self, params: Params, out: Params, batch: Tensor | None = None) -> Tensor:
        """The loss of each row ``[R]`` and its gradient into ``out``."""
        losses = []
        for k, member in enumerate(_members(params)):
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in member.items()}
            chosen = None if batch is None else batch[k]
            for tensor in out.values():
                tensor[k] = 0
            with torch.enable_grad():
                losses.append(self._blocks(leaves, {name: tensor[k] for name, tensor in out.items()}, chosen))
        return torch.stack(losses)

    def _blocks(self, member: Mapping[str, Tensor], out: Params | None = None, chosen: Tensor | None = None) -> Tensor:
        inputs = self._inputs if chosen is None else self._inputs[chosen]
        targets = self._targets if chosen is None else self._targets[chosen]
        total = torch.zeros((), dtype=torch.float64)
        for first in range(0, len(inputs), _SAMPLES_AT_ONCE):
            block = slice(first, first + _SAMPLES_AT_ONCE)
            share = len(inputs[block]) / len(inputs)
            loss = self._loss_fn(functional_call(self._model, dict(member), (inputs[block],)), targets[block])
            if out is not None:
                grads = torch.autograd.grad(loss, list(member.values()), allow_unused=True)
                for tensor, grad in zip(out.values(), grads, strict=True):
                    if grad is not None:
                        tensor.add_(grad, alpha=share)
            total += loss.detach().double().cpu() * share
        return total

    def _check_outputs(self, model: nn.Module, inputs: Tensor) -> None:
        """A function of inputs and parameters, and the one that the module is as it was given."""
        with torch.no_grad(), generator_kept():
            outputs, again = self._model(inputs), self._model(inputs)
            if not isinstance(outputs, Tensor):
                raise InputError(f"the model must return a tensor, got {type(outputs).__name__}")
            if not outputs.equal(again) and bool(outputs.isfinite().all()):
                raise InputError("the model must be a function of its inputs, but gives other outputs at a second call")
            if any(module.training for module in model.modules()):
                given = copy.deepcopy(model)(inputs)
                if not torch.allclose(given, outputs, equal_nan=True):
                    raise InputError("the model acts differently in training mode: call model.eval() first")

    def _check_mean(self, inputs: Tensor, targets: Tensor) -> None:
        with torch.no_grad():
            outputs = self._model(inputs)
            whole = self._loss_fn(outputs, targets)
            if not isinstance(whole, Tensor) or whole.numel() != 1:
                raise InputError("the loss must be one number, the mean over samples")
            parts = [self._loss_fn(outputs[k : k + 1], targets[k : k + 1]) for k in range(len(inputs))]
        alone = torch.stack([part.double().flatten()[0] for part in parts])
        if not torch.isfinite(whole):
            raise InputError(f"the loss at w* must be finite, got {whole.item()}")
        if not torch.isclose(whole.double().flatten()[0], alone.mean(), rtol=1e-3, atol=1e-6):
            raise InputError(
                f"the loss must be the mean over samples: of {len(alone)} samples it is {whole.item():.6g}, the mean "
                f"of each alone is {alone.mean().item():.6g}"
            )


def _check_parameters(parameters: Mapping[str, Tensor]) -> None:
    for name, p in parameters.items():
        if p.device.type != "cpu" or p.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"the parameters must be float32 or float64 on the CPU, but {name} is {p.dtype} on {p.device}"
            )
        if not bool(p.isfinite().all()):
            raise InputError(f"the parameters must be finite, but {name} holds NaN or infinity")
    kinds = {p.dtype for p in parameters.values()}
    if len(kinds) > 1:
        raise InputError(f"the parameters must be of one type, got {sorted(map(str, kinds))}")


def _members(params: Params) -> list[Params]:
    count = next(iter(params.values())).shape[0]
    return [{name: tensor[k] for name, tensor in params.items()} for k in range(count)]


def _check_mode(model: nn.Module) -> None:
    """Batch statistics and dropout make a loss that is no function of the parameters."""
    for name, module in model.named_modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None)
        drop = isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0
        if norm or drop:
            what = "batch statistics" if norm else "dropout"
            raise InputError(f"{type(module).__name__} {name!r} uses {what}: call model.eval() first")

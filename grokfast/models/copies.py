"""A private copy of a module that runs without the module itself ever being touched."""

from __future__ import annotations

import copy
import functools
import random
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from grokfast._generators import generator_state, set_generator_state

_ATOMS = frozenset({
    int, float, complex, bool, str, bytes, type(None), type, range, slice, torch.dtype, torch.device, torch.Size,
    torch.layout, torch.memory_format, types.BuiltinFunctionType, types.ModuleType,
})  # fmt: skip
_STANDARD = frozenset(nn.Module().__dict__)
# Wrappers whose own machinery is left behind: what they wrap runs as it is.
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DistributedDataParallel": "module"}


def private_copy(
    model: nn.Module, values: Mapping[str, Tensor] | None = None, *, double: bool = False, own: bool = False
) -> nn.Module:
    """A copy of a module tree that shares the storage of its parameters and nothing else.

    Parameters are new leaves on the same memory, so a pass through the copy, forward or backward, reaches no
    gradient, hook, buffer or attribute of the caller's module, and several threads can work beside each other. Buffers
    and whatever lies in plain attributes (tensors, lists, dicts, objects, hooks with what they hold) are
    copied; a parameter or module that is also held in such a place is the copy's there. What cannot be copied
    (an open file, a lock) and what is no part of a model (data sets, loaders, optimisers) is shared.

    Args:
        model: Any module. A compiled or distributed wrapper becomes a plain one, with the same parameter names.
        values: Tensors by name that take the place of parameters and buffers.
        double: Turn every float32 tensor, registered or not, into float64.
        own: Copy the memory of parameters too, as ``copy.deepcopy`` would (which fails where an attribute is the
            result of an operation, as after ``torch.nn.utils.prune``).

    Returns:
        The copy, in the same mode, with the same ``requires_grad``.
    """
    copier = _Copier(values or {}, double, own)
    for name, parameter in model.named_parameters():
        copier.known(parameter, copier.parameter(name, parameter))
    for name, buffer in model.named_buffers():
        copier.known(buffer, copier.plain(copier.values.get(name, buffer)))
    return cast(nn.Module, copier.copy(model))


class _Passing(nn.Module):
    """What is left of a wrapper."""

    def __init__(self, name: str, inner: nn.Module, training: bool) -> None:
        super().__init__()
        self._inner = name
        self.add_module(name, inner)
        self.training = training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the wrapped module."""
        return getattr(self, self._inner)(*args, **kwargs)


class _Copier:
    """Copies of objects by the ``id`` of the original, as ``copy.deepcopy`` keeps them."""

    def __init__(self, values: Mapping[str, Tensor], double: bool, own: bool) -> None:
        self.values, self.double, self.own = values, double, own
        self.memo: dict[int, Any] = {}
        self._alive: list[Any] = []

    def known(self, original: Any, new: Any) -> Any:
        """Remember a copy."""
        self.memo[id(original)] = new
        self._alive.append(original)
        return new

    def parameter(self, name: str, p: nn.Parameter) -> Tensor:
        """A new leaf on the memory of a parameter."""
        if isinstance(p, nn.parameter.UninitializedParameter):
            return p
        value = self.values.get(name, p).detach()
        if type(value) is not Tensor and not self.own:
            return p  # packed or quantised by a class of its own: frozen, and nobody writes to it
        if self.own or value.is_inference():
            value = value.clone()
        return nn.Parameter(self._wide(value), requires_grad=p.requires_grad and value.is_floating_point())

    def plain(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor that is no parameter."""
        value = tensor.detach()
        wide = self._wide(value)
        wide = wide.clone() if wide is value else wide
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(wide, requires_grad=tensor.requires_grad)
        return wide

    def _wide(self, value: Tensor) -> Tensor:
        return value.double() if self.double and value.dtype == torch.float32 else value

    def copy(self, v: Any) -> Any:
        """The copy of anything that a module can hold."""
        kind = type(v)
        if kind in _ATOMS:
            return v
        found = self.memo.get(id(v))
        if found is not None:
            return found
        for base, how in _HOW:
            if isinstance(v, base):
                return how(self, v)
        return self._object(v)

    def module(self, m: nn.Module) -> nn.Module:
        """A module of the same class whose attributes are copies."""
        inner = _WRAPPERS.get(type(m).__name__)
        if inner in m._modules:
            wrapped = cast(nn.Module, self.copy(m._modules[inner]))
            return cast(nn.Module, self.known(m, _Passing(inner, wrapped, m.training)))
        if isinstance(m, torch.jit.ScriptModule):
            return self._scripted(m)
        new = object.__new__(type(m))
        self.known(m, new)
        for name, value in m.__dict__.items():
            if type(value) in _ATOMS:
                new.__dict__[name] = value
            elif name in _STANDARD and not value:  # hooks: most of what a module holds, and mostly none
                new.__dict__[name] = type(value)()
            else:
                new.__dict__[name] = self.copy(value)
        if new.__dict__.get("_compiled_call_impl") is not None:
            new.__dict__["_compiled_call_impl"] = None
        return new

    def _scripted(self, m: nn.Module) -> nn.Module:
        """A scripted module keeps its tensors where Python cannot exchange them: the values are copied in."""
        new = copy.deepcopy(m)
        new = new.double() if self.double else new
        for (_, old), (_, mine) in zip(m.named_parameters(), new.named_parameters(), strict=True):
            mine.data = self.memo[id(old)].detach().clone()
            self.known(old, mine)
        return cast(nn.Module, self.known(m, new))

    def tensor(self, v: Tensor) -> Tensor:
        """A tensor in a plain attribute."""
        return cast(Tensor, self.known(v, self.plain(v)))

    def mapping(self, v: dict[Any, Any]) -> Any:
        """A dict of any class; keys that are modules or tensors are exchanged too."""
        plain = OrderedDict if isinstance(v, OrderedDict) else dict  # an OrderedDict keeps an order of its own
        if type(v) is plain:
            new = self.known(v, plain())
        else:
            new = self.known(v, copy.copy(v))
            for key in list(new):
                plain.__delitem__(new, key)
            if hasattr(new, "__dict__"):
                new.__dict__.update({name: self.copy(value) for name, value in v.__dict__.items()})
        for key, value in list(v.items()):
            plain.__setitem__(new, self.copy(key), self.copy(value))
        return new

    def sequence(self, v: Any) -> Any:
        """A list or deque."""
        new = self.known(v, deque(maxlen=v.maxlen) if isinstance(v, deque) else [])
        new.extend(self.copy(item) for item in list(v))
        return new

    def fixed(self, v: tuple[Any, ...]) -> Any:
        """A tuple; itself if nothing in it was copied."""
        items = [self.copy(item) for item in v]
        if all(a is b for a, b in zip(items, v, strict=True)):
            return v
        return self.known(v, type(v)(*items) if hasattr(v, "_fields") else tuple(items))

    def collection(self, v: set[Any] | frozenset[Any]) -> Any:
        """A set."""
        return self.known(v, type(v)(self.copy(item) for item in v))

    def method(self, v: types.MethodType) -> Any:
        """A method of the copy of its object."""
        return types.MethodType(v.__func__, self.copy(v.__self__))

    def function(self, v: types.FunctionType) -> Any:
        """A function whose closure and defaults are copies; itself if they hold nothing that was copied."""
        if v.__closure__ is None and not v.__defaults__ and not v.__kwdefaults__:
            return v
        self.known(v, v)
        try:
            held = [cell.cell_contents for cell in v.__closure__ or ()]
        except ValueError:  # an empty cell
            return v
        mine = [self.copy(value) for value in held]
        defaults = None if v.__defaults__ is None else self.copy(v.__defaults__)
        named = {name: self.copy(value) for name, value in (v.__kwdefaults__ or {}).items()}
        given = v.__kwdefaults__ or {}
        same = defaults is v.__defaults__ and all(value is given[name] for name, value in named.items())
        if same and all(a is b for a, b in zip(mine, held, strict=True)):
            return v
        closure = None if v.__closure__ is None else tuple(types.CellType(value) for value in mine)
        new = types.FunctionType(v.__code__, v.__globals__, v.__name__, defaults, closure)
        new.__kwdefaults__ = named or None
        new.__dict__.update(v.__dict__)
        return self.known(v, new)

    def partial(self, v: functools.partial[Any]) -> Any:
        """A partial application to copies."""
        keywords = {name: self.copy(value) for name, value in v.keywords.items()}
        return self.known(v, functools.partial(self.copy(v.func), *map(self.copy, v.args), **keywords))

    def reference(self, v: weakref.ref[Any]) -> Any:
        """A weak reference to the copy, if there is one."""
        target = self.memo.get(id(v()))
        return v if target is None else weakref.ref(target)

    def generator(self, v: torch.Generator) -> Any:
        """A generator in the same state."""
        return self.known(v, set_generator_state(generator_state(v), torch.Generator(v.device)))

    def reseeded(self, v: Any) -> Any:
        """A generator of NumPy's or Python's of its own seed, so that two copies show whether it is drawn from."""
        new = random.Random() if isinstance(v, random.Random) else np.random.RandomState()
        return self.known(v, np.random.default_rng() if isinstance(v, np.random.Generator) else new)

    def shared(self, v: Any) -> Any:
        """What is no part of the model."""
        return v

    def _object(self, v: Any) -> Any:
        kind: Any = type(v)
        plain = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
        if hasattr(v, "__dict__") and plain and not hasattr(kind, "__deepcopy__") and not hasattr(kind, "__slots__"):
            try:
                new = object.__new__(kind)
            except TypeError:  # a class of an extension
                return self.known(v, v)
            self.known(v, new)
            new.__dict__.update({name: self.copy(value) for name, value in v.__dict__.items()})
            return new
        try:
            return self.known(v, copy.deepcopy(v, self.memo))
        except Exception:  # whatever refuses to be copied is shared
            return self.known(v, v)


_HOW: tuple[tuple[Any, Callable[[_Copier, Any], Any]], ...] = (
    (nn.Module, _Copier.module),
    (Tensor, _Copier.tensor),
    (dict, _Copier.mapping),
    ((list, deque), _Copier.sequence),
    (tuple, _Copier.fixed),
    ((set, frozenset), _Copier.collection),
    (types.MethodType, _Copier.method),
    (types.FunctionType, _Copier.function),
    (functools.partial, _Copier.partial),
    (weakref.ref, _Copier.reference),
    (torch.Generator, _Copier.generator),
    ((random.Random, np.random.Generator, np.random.RandomState), _Copier.reseeded),
    (np.ndarray, lambda copier, v: copier.known(v, v.copy())),
    ((type, types.BuiltinFunctionType, Enum, Dataset, DataLoader, torch.optim.Optimizer), _Copier.shared),
)

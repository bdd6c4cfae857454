"""A pretended CUDA device: tensors that say they are on ``cuda:0`` and have their data on the CPU.

What the package asks its kernels goes to the emulated ones (``run.sh``); what it asks torch is done on the CPU, once
it is sure that the device would do it: a tensor of the CPU among those of the device is an error, as it is there. What
torch would launch is counted, and every time that the host would wait for the device.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from grokfast.ops import _native

HERE = torch.device("cuda:0")
aten = torch.ops.aten

# The host needs the answer, or the size of the answer; copies between ordinary memory and the device wait too.
_WAITING = {
    aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select, aten._unique2,
    aten.unique_dim, aten.unique_consecutive, aten.repeat_interleave,
}  # fmt: skip
_INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._unsafe_index}
_COPIES = {aten._to_copy, aten.copy_}
# No launch, besides views.
_FREE = {
    aten.empty, aten.empty_strided, aten.empty_like, aten.new_empty, aten.new_empty_strided, aten.detach, aten.alias,
    aten.lift_fresh, aten._local_scalar_dense, aten._reshape_alias, aten._unsafe_view,
}  # fmt: skip
_ONE_DEVICE = {aten.cat, aten.stack}  # which take no numbers of the CPU either
_EMPTY = {aten.empty, aten.empty_strided, aten.empty_like, aten.new_empty, aten.new_empty_strided}
_RESHAPING = {aten.resize_, aten.set_, aten.t_, aten.transpose_, aten.squeeze_, aten.unsqueeze_, aten.as_strided_}


class OnDevice(Tensor):
    """A tensor that says it is on ``cuda:0``; ``data_here`` holds its data."""

    @staticmethod
    def __new__(cls, real: Tensor) -> OnDevice:
        return Tensor._make_wrapper_subclass(
            cls, real.shape, strides=real.stride(), storage_offset=real.storage_offset(), dtype=real.dtype, device=HERE
        )

    def __init__(self, real: Tensor) -> None:
        self.data_here = real

    def __tensor_flatten__(self) -> tuple[list[str], None]:  # without it a module moves its memory and not its class
        return ["data_here"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], context: None, size: Any, stride: Any) -> OnDevice:
        return OnDevice(inner["data_here"])

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if func in (Tensor.data_ptr, Tensor.untyped_storage):
                return func(args[0].data_here)
            if func is Tensor.data.__get__:  # type: ignore[attr-defined]
                return args[0].detach()
            if func is Tensor.numpy:
                raise TypeError(f"can't convert {HERE} device type tensor to numpy; use Tensor.cpu() first")
            if func is Tensor.tolist:
                return args[0].cpu().tolist()
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} on thread {threading.current_thread().name}, where no device is")


def _let_torch_name_it() -> None:
    """Give torch without CUDA a device guard for CUDA, the one of ``meta``, which does nothing.

    With the index 0 in its name the device is never asked of it.
    """
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * 20).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    cuda, meta = 1, 14  # c10::DeviceType
    guards[cuda] = guards[cuda] or guards[meta]


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class Device(TorchDispatchMode):
    """The device while it is there, with what has been asked of it.

    Attributes:
        torch: Launches of torch's own operations, by name; each is counted as one.
        waits: What the host waited for, by the name of the operation.
        kernels: Calls of the package's kernels, by name; what they launch is the emulated GPU's to count.
    """

    def __init__(self, gpu: ModuleType) -> None:
        super().__init__()
        self.gpu = gpu
        self.torch: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.kernels: Counter[str] = Counter()

    def counted(self) -> SimpleNamespace:
        """What has been asked since the last call: ``ours`` are launches of the package's kernels."""
        found = SimpleNamespace(
            ours=self.gpu.count_launches(), torch=+self.torch, waits=+self.waits, kernels=+self.kernels
        )
        for counter in (self.torch, self.waits, self.kernels):
            counter.clear()
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "grokfast":
            return self._own(func, args, kwargs or {})
        flat, spec = tree_flatten((args, kwargs or {}))
        there = [one for one in flat if isinstance(one, OnDevice)]
        asked = (kwargs or {}).get("device")
        if not there and not _is_there(asked):
            return func(*args, **(kwargs or {}))
        kind = func.overloadpacket
        self._check(kind, flat)
        self._count(func, kind, args, flat, there, asked)
        known = {id(one.data_here): one for one in there}
        plain = [one.data_here if isinstance(one, OnDevice) else one for one in flat]
        plain = [torch.device("cpu") if isinstance(one, torch.device) else one for one in plain]
        args, kwargs = tree_unflatten(plain, spec)
        if "device" in kwargs:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        found = func(*args, **kwargs)
        if kind in _EMPTY and found.is_floating_point():
            found.fill_(torch.nan)
        if (there and asked is not None and not _is_there(asked)) or (
            kind is aten.copy_ and not isinstance(flat[0], OnDevice)
        ):
            return found  # on the CPU
        return tree_map(lambda one: self._there(one, known), found)

    def _there(self, one: Any, known: dict[int, OnDevice]) -> Any:
        if not isinstance(one, Tensor):
            return one
        return known[id(one)] if id(one) in known else OnDevice(one)

    def _own(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The body that the package registered for the device of its tensors."""
        on_device = any(isinstance(one, OnDevice) for one in tree_flatten((args, kwargs))[0])
        body = torch._library.custom_ops.OPDEFS[func._schema.name]._backend_fns["cuda" if on_device else "cpu"]
        with self, torch._C._EnableTorchFunction():
            return body(*args, **kwargs)

    def _check(self, kind: Any, flat: list[Any]) -> None:
        if kind in _RESHAPING:
            raise NotImplementedError(f"{kind} on the pretended device")
        if any(isinstance(one, torch.Generator) for one in flat):
            raise RuntimeError(f"{kind}: expected a generator of {HERE}, got one of the CPU")
        if kind in _COPIES:
            return
        for one in flat:
            if isinstance(one, Tensor) and not isinstance(one, OnDevice) and (one.dim() or kind in _ONE_DEVICE):
                raise RuntimeError(f"{kind}: expected all tensors on {HERE}, got one of {list(one.shape)} on the CPU")

    def _count(self, func: Any, kind: Any, args: Any, flat: list[Any], there: list[OnDevice], asked: Any) -> None:
        name = kind.__name__
        by_mask = kind in _INDEXING and any(
            isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in args[1]
        )
        tensors = [one for one in flat if isinstance(one, Tensor)]
        across = kind in _COPIES and (
            len(there) != len(tensors) or (asked is not None and _is_there(asked) != bool(there))
        )
        if kind in _WAITING or by_mask or across:
            self.waits[name] += 1
        if not (kind in _FREE or func.is_view or across):
            self.torch[name] += 1


@pytest.fixture
def device(emulated_gpu: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """The pretended device; calls of kernels on it go to the emulated ones."""
    if emulated_gpu is None:
        pytest.skip("NO EMULATED GPU: nothing was run on the pretended device; run tests/cuda/run.sh")
    there, on_cpu = Device(emulated_gpu), _native._kernel

    def kernel(name: str, where: str, dtype: torch.dtype) -> Any:
        if where != "cuda":
            return on_cpu(name, where, dtype)
        suffix = {torch.float32: "f32", torch.float64: "f64"}.get(dtype)
        found = getattr(emulated_gpu, f"cuda_{name}_{suffix}", None)
        if found is None:
            return None

        def run(*arguments: Any) -> None:
            there.kernels[name] += 1
            found(*arguments)

        return run

    monkeypatch.setattr(_native, "_kernel", kernel)
    _let_torch_name_it()
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device", lambda where: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda where=None: SimpleNamespace(cuda_stream=0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where=None: "pretended device")
    emulated_gpu.seed(1)
    emulated_gpu.count_launches()
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes its numbers a tensor first and then asks the device
    try:
        with there:
            yield there
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)

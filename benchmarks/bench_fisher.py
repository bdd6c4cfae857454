"""Fisher diagonals of the networks M1 to M5 beside other libraries, with the answers asserted equal.

One thread; each round runs everybody once, in turn, so that all meet the same machine; ratios are of
medians. BackPACK and NNGeometry take part if they are installed (`pip install '.[bench]'`), torch.func
always. With GROKFAST_BENCH_QUICK=1 the sizes shrink.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fisher_nets as nets
import fisher_rivals as rivals
import pytest
import torch
from torch import Tensor, nn

from grokfast.fisher import fisher_diag, fisher_plan

QUICK = os.environ.get("GROKFAST_BENCH_QUICK") == "1"
ROWS: list[str] = []


@dataclass(frozen=True)
class Case:
    net: Callable[[], nn.Module]
    inputs: Callable[[int, torch.Generator], Tensor]
    n: int
    kind: str
    likelihood: str = "categorical"
    classes: int = 10
    few: int = 0  # samples for torch.func where all of them would take minutes; its time is scaled up
    others: tuple[str, ...] = ("nngeometry", "backpack")
    aim: float = 0.0
    rounds: int = 5
    prepared: bool = False


def _two_hot(n: int, generator: torch.Generator) -> Tensor:
    return nets.two_hot(nets.pairs(n, generator))


CASES = {
    "M1 exact 3831, dense": Case(nets.modular_mlp, nets.dense, 3831, "exact", classes=113, few=4, aim=100, rounds=3),
    "M1 exact 3831, two-hot": Case(nets.modular_mlp, _two_hot, 3831, "exact", classes=113, few=4, aim=200, rounds=3),
    "M1 gaussian 1000": Case(nets.modular_mlp, nets.dense, 1000, "exact", "gaussian", 113, few=4, aim=100),
    "M1 empirical 3831": Case(nets.modular_mlp, _two_hot, 3831, "empirical", classes=113, few=500, aim=2.5),
    "M2 exact 16": Case(nets.ising_cnn, nets.spins, 16, "exact", classes=2, aim=20, rounds=25),
    "M2 exact 16, prepared": Case(nets.ising_cnn, nets.spins, 16, "exact", classes=2, aim=10, rounds=25, prepared=True),
    "M2 exact 1000": Case(nets.ising_cnn, nets.spins, 1000, "exact", classes=2, aim=20, rounds=7),
    "M2 exact 3831": Case(nets.ising_cnn, nets.spins, 3831, "exact", classes=2, aim=23, rounds=5),
    "M2 empirical 1000": Case(nets.ising_cnn, nets.spins, 1000, "empirical", classes=2, aim=10, rounds=7),
    "M3 exact 256": Case(nets.digits_cnn, nets.images, 256, "exact", few=16, aim=2.5, rounds=3),
    "M3 empirical 1000": Case(nets.digits_cnn, nets.images, 1000, "empirical", aim=3, rounds=3),
    "M4 empirical 1000": Case(
        nets.Transformer, nets.tokens, 1000, "empirical", classes=113, aim=6, others=(), rounds=5
    ),
    "M5 exact 256": Case(nets.Recurrent, nets.series, 256, "exact", few=8, aim=10, others=("loop",), rounds=3),
    "M5 empirical 256": Case(nets.Recurrent, nets.series, 256, "empirical", few=32, aim=10, others=("loop",), rounds=3),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _table(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n\nFisher diagonal: time of each rival over ours (median of alternating rounds, one thread)")
        print("\n".join(ROWS))


def _compare(found: Tensor, expected: Tensor) -> float:
    """The largest relative difference of all entries; below 1e-5 of the largest entry, relative to that."""
    return float(((found - expected).abs() / expected.clamp_min(1e-5 * float(expected.max()))).max())


def _best_chunk(case: Case, model: nn.Module, x: Tensor, y: Tensor | None) -> rivals.Run:
    """BackPACK with the number of samples at a time that is fastest here."""
    runs = [rivals.backpack_in_chunks(model, x, y, case.kind, case.likelihood, k) for k in (32, 128, 512, len(x))]
    times = []
    for run in runs:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return runs[times.index(min(times))]


def _rivals(case: Case, model: nn.Module, x: Tensor, y: Tensor | None) -> dict[str, tuple[rivals.Run, float, int]]:
    few = min(case.few or len(x), len(x))
    # What torch.func cannot follow (recurrent layers) goes by a loop.
    general = ("loop", rivals.loop) if "loop" in case.others else ("torch.func", rivals.torch_func)
    run = general[1](model, x[:few], None if y is None else y[:few], case.kind, case.likelihood)
    found = {general[0]: (run, len(x) / few, few)}
    if case.net is nets.modular_mlp and case.kind == "exact":
        found["closed form in torch"] = (rivals.closed_form(model, x, case.likelihood), 1.0, len(x))
    if _takes_part("nngeometry", case) and case.kind != "empirical":
        found["nngeometry"] = (rivals.nngeometry(model, x, y, case.kind, case.likelihood), 1.0, len(x))
    if _takes_part("backpack", case):
        found["backpack"] = (_best_chunk(case, model, x, y), 1.0, len(x))
    return found


def _takes_part(name: str, case: Case) -> bool:
    return name in case.others and importlib.util.find_spec(name) is not None


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_fisher_diag(name: str, benchmark) -> None:  # type: ignore[no-untyped-def]
    case = CASES[name]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    model = case.net()
    n = min(case.n, 32) if QUICK else case.n
    x = case.inputs(n, generator)
    y = torch.randint(0, case.classes, (n,), generator=generator) if case.kind == "empirical" else None
    how = {"kind": case.kind, "likelihood": case.likelihood}
    if case.prepared:
        plan = fisher_plan(model, x, **how)

    def ours(k: int = n) -> Tensor:
        labels = None if y is None else y[:k]
        return (plan(x[:k], labels) if case.prepared else fisher_diag(model, x[:k], labels, **how)).flat()

    field = _rivals(case, model, x, y)
    times: dict[str, list[float]] = {"ours": [], **{rival: [] for rival in field}}
    ours()
    for rival, (run, _, k) in field.items():
        error = _compare(run(), ours(k))
        assert error < 1e-3, f"{rival} gives another answer: relative difference {error:.1e}"
    for _ in range(2 if QUICK else case.rounds):
        start = time.perf_counter()
        ours()
        times["ours"].append(time.perf_counter() - start)
        for rival, (run, scale, _) in field.items():
            start = time.perf_counter()
            run()
            times[rival].append((time.perf_counter() - start) * scale)
    benchmark.pedantic(ours, rounds=2 if QUICK else case.rounds, warmup_rounds=1)
    median = {who: statistics.median(taken) for who, taken in times.items()}
    ratios = {rival: median[rival] / median["ours"] for rival in field}
    benchmark.extra_info |= {"ratios": ratios, "aim": case.aim, "ours_ms": median["ours"] * 1e3}
    shown = ", ".join(f"{rival} {ratio:.1f}x" + ("*" if field[rival][1] > 1 else "") for rival, ratio in ratios.items())
    best = min(ratio for rival, ratio in ratios.items() if rival != "closed form in torch")
    ROWS.append(
        f"  {name:24} ours {median['ours'] * 1e3:8.2f} ms   best library {best:6.1f}x (aim {case.aim:g})   {shown}"
    )


@pytest.mark.parametrize("name", ["M1 exact 3831, two-hot", "M1 exact 3831, dense", "M2 exact 3831"])
def test_two_threads(name: str, benchmark) -> None:  # type: ignore[no-untyped-def]
    case = CASES[name]
    torch.manual_seed(0)
    model, x = case.net(), case.inputs(64 if QUICK else case.n, torch.Generator().manual_seed(1))
    answers, times = {}, {1: [], 2: []}  # type: ignore[var-annotated]
    try:
        for _ in range(2 if QUICK else 9):
            for threads in (1, 2):
                torch.set_num_threads(threads)
                start = time.perf_counter()
                answers[threads] = fisher_diag(model, x).flat()
                times[threads].append(time.perf_counter() - start)
        assert torch.equal(answers[1], answers[2])
        benchmark.pedantic(lambda: fisher_diag(model, x), rounds=3)
    finally:
        torch.set_num_threads(1)
    ratio = statistics.median(times[1]) / statistics.median(times[2])
    benchmark.extra_info["two_threads"] = ratio
    ROWS.append(f"  {name:24} two threads {ratio:.2f}x of one (aim 1.7; same bits)")


_PEAK = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
import fisher_nets as nets
from grokfast.fisher import fisher_diag

torch.set_num_threads(1)
torch.manual_seed(0)
model, x = nets.modular_mlp(), nets.two_hot(nets.pairs(int(sys.argv[2]), torch.Generator().manual_seed(1)))
fisher_diag(model, x[:64])

def read(field):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024

Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
before = read("VmRSS")
found = fisher_diag(model, x)
print(read("VmHWM") - before)
"""


def _peak_memory(n: int) -> float:
    """Growth of the resident peak over one diagonal, in MB, in a fresh process that has done a small one before."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of resident memory cannot be reset here")
    run = subprocess.run(
        [sys.executable, "-c", _PEAK, str(Path(__file__).parent), str(n)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tempfile.gettempdir(),  # where no checkout hides the installed package
    )
    return float(run.stdout)


def test_memory(benchmark) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = (100, 1000) if QUICK else (3831, 100_000)
    peaks = {n: _peak_memory(n) for n in sizes}
    model, x = nets.modular_mlp(), nets.two_hot(nets.pairs(1000, torch.Generator().manual_seed(1)))
    halves = [fisher_diag(model, part, reduction="sum").flat() for part in (x[:500], x[500:])]
    whole = benchmark.pedantic(lambda: fisher_diag(model, x, reduction="sum").flat(), rounds=2)
    assert _compare(whole, halves[0] + halves[1]) < 1e-5
    benchmark.extra_info["peak_mb"] = peaks
    shown = ", ".join(f"N = {n:,}: {mb:.1f} MB" for n, mb in peaks.items())
    ROWS.append(f"  M1 exact, peak extra memory (result 0.7 MB): {shown}")

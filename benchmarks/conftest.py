"""Side-by-side timing: every benchmark runs its rival in the same rounds, asserts equal answers and reports a ratio.

Machines are shared and noisy, so the ratio of medians over alternating rounds is the figure to quote; no test asserts
a time. ``GROKFAST_BENCH_QUICK=1`` shrinks the work to a pass for the answers.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

# pytest imports each file alone, without the modules beside it.
sys.path.insert(0, str(Path(__file__).parent))

QUICK = os.environ.get("GROKFAST_BENCH_QUICK") == "1"
_RATIOS: list[str] = []


@pytest.fixture
def quick() -> bool:
    return QUICK


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def side_by_side(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., tuple[Any, Any]]:
    """Time ``ours`` and ``rival`` in alternating rounds; both results come back for comparison.

    ``ours_counts`` and ``rival_counts`` say how many units of work (members, say) one call does, for a ratio per unit.
    """

    def run(
        ours: Callable[[], Any],
        rival: Callable[[], Any],
        *,
        rounds: int = 5,
        ours_counts: float = 1,
        rival_counts: float = 1,
        name: str = "rival",
    ) -> tuple[Any, Any]:
        seconds: list[float] = []
        answers: list[Any] = []

        def rival_first() -> None:
            started = time.perf_counter()
            answers.append(rival())
            seconds.append(time.perf_counter() - started)

        count = 1 if QUICK else rounds
        answer = benchmark.pedantic(
            ours, setup=rival_first, rounds=count, iterations=1, warmup_rounds=0 if QUICK else 1
        )
        seconds = seconds[-count:]
        per_unit = statistics.median(benchmark.stats.stats.data) / ours_counts
        rival_per_unit = statistics.median(seconds) / rival_counts
        ratio = rival_per_unit / per_unit
        benchmark.extra_info.update({"rival": name, "rival_seconds": rival_per_unit, "ratio": ratio})
        _RATIOS.append(
            f"{request.node.name}: {per_unit * 1e3:.3f} ms against {rival_per_unit * 1e3:.3f} ms of {name}: "
            f"{ratio:.2f} x"
        )
        return answer, answers[-1]

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _RATIOS:
        terminalreporter.section("ratios (medians of alternating rounds, one thread)" + (", QUICK" if QUICK else ""))
        for line in _RATIOS:
            terminalreporter.write_line(line)

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from grokfast import RunConfig
from grokfast._words import duration, size
from grokfast.cli.sweep_progress import SweepDisplay
from grokfast.sweep import Outcome, Plan, Receipt, Shard


def _sweep(display: SweepDisplay, configs: list[RunConfig]) -> None:
    shards = (Shard(tuple(configs[:3])), Shard(tuple(configs[3:])))
    with display:
        display("plan", {"plan": Plan(shards, workers=2)})
        display("progress", {"shard": shards[0].id, "epoch": 4})
        display("progress", {"shard": "of a shard that was split", "epoch": 4})
        done = Receipt(shards[0].id, Outcome.DONE, published=shards[0].keys, failed={"x": "y"}, epochs=12)
        display("receipt", {"shard": shards[0], "receipt": done})
        display("stopping", {"reason": "SIGINT"})


@pytest.mark.parametrize("terminal", [True, False])
def test_shards_runs_and_epochs_are_counted(small: Callable[..., list[RunConfig]], terminal: bool) -> None:
    out = io.StringIO()
    _sweep(SweepDisplay(Console(file=out, force_terminal=terminal, width=160)), small(5))
    text = out.getvalue()
    assert "1 of 2 shards, 3 runs, 1 failed" in text
    assert "SIGINT: each shard finishes its epoch and saves; once more stops at once" in text
    if not terminal:
        assert "36 of 60 member-epochs" in text


def test_the_time_left_leaves_out_what_was_resumed(
    small: Callable[..., list[RunConfig]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("grokfast.cli.sweep_progress.time.monotonic", lambda: now[0])
    out = io.StringIO()
    display = SweepDisplay(Console(file=out, width=160))
    shard = Shard(tuple(small(4, epochs=100)))
    display("plan", {"plan": Plan((shard,), workers=1)})
    display("progress", {"shard": shard.id, "epoch": 50})
    now[0] += 10.0
    display("progress", {"shard": shard.id, "epoch": 60})
    # 10 epochs in 10 s, 40 to go; counted from epoch 0 it would be 7 s.
    assert "240 of 400 member-epochs" in out.getvalue()
    assert "about 40 s left" in out.getvalue()


def test_words_for_durations_and_sizes() -> None:
    assert [duration(s) for s in (3, 89, 120, 7500, 400_000)] == [
        "3 s",
        "89 s",
        "2 min",
        "2 h 5 min",
        "4.6 days",
    ]
    assert [size(count) for count in (7, 1500, 2_340_000, 5e13)] == ["7 B", "1.5 kB", "2.34 MB", "50 TB"]  # type: ignore[arg-type]

"""`grokfast demo`: a steady learner and a grokker, trained and drawn in minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from grokfast.cli.common import Runs, train_into
from grokfast.cli.printing import call, make_console, tell
from grokfast.cli.tables import summary_table
from grokfast.errors import ConfigError
from grokfast.figures import draw, save
from grokfast.tasks import Ising
from grokfast.training import RunConfig

_EPOCHS = {"modular-addition": 250, "ising": 10_000}
_FIGURE = {"modular-addition": "demo", "ising": "demo-ising"}
_NEXT = {
    "modular-addition": "grokfast train modular-addition --w0 0.1 1 10 --seeds 5",
    "ising": "grokfast sweep fig09 --size quick",
}


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(demo, arguments, "grokfast demo")


def demo(
    task: Literal["modular-addition", "ising"] = "modular-addition",
    runs: Runs = Path("grokfast-demo"),
    epochs: int = 0,
    threads: int = 0,
    force: bool = False,
) -> None:
    """Train steady learners and a grokker, and show who groks.

    Modular addition (P = 113) at w0 = 0.1, 1 and 10, or Ising phases at w0 = 1 and 10 with ten times the paper's
    learning rate, to be quick. Ends with a table (learning times, regime, compressibility, features) and a figure.

    Args:
        task: modular-addition or ising.
        runs: Folder for the runs and the figure.
        epochs: Epochs; 0 is 250 or, for Ising, 10,000. The grokkers need about 60 and 6,000 to generalise.
        threads: Stacks trained at the same time; 0 is one per core.
        force: Train again what the folder holds already.
    """
    if epochs < 0:
        raise ConfigError(f"epochs must be at least 1, or 0 for the demo's own, got {epochs}")
    console = make_console()
    started = time.perf_counter()
    configs = _configs(task, epochs or _EPOCHS[task])
    table = train_into(configs, runs, console, threads=threads, force=force)
    files = save(draw(_FIGURE[task], table), runs / "figures", _FIGURE[task])
    console.print(summary_table(table))
    tell(console, f"took {time.perf_counter() - started:.0f} s; one seed a scale, so no error bars: try")
    tell(console, f"  {_NEXT[task]}")
    for file in files:
        tell(console, f"figure: {file.resolve()}")
    tell(console, f"runs:   {runs.resolve()}")


def _configs(task: str, epochs: int) -> list[RunConfig]:
    if task == "modular-addition":
        return [RunConfig(w0=w0, epochs=epochs) for w0 in (0.1, 1.0, 10.0)]
    return [
        RunConfig(task=Ising(), w0=w0, epochs=epochs, learning_rate=1e-3, test_schedule="every:5") for w0 in (1.0, 10.0)
    ]

"""`grokfast demo`: a steady learner and a grokker, trained and drawn in minutes."""

from __future__ import annotations

import time
from pathlib import Path

from grokfast.cli.progress import make_console
from grokfast.cli.train import summary_table, train_into
from grokfast.figures import FIGURES, draw, save
from grokfast.training import RunConfig


def demo(runs: Path = Path("grokfast-demo"), epochs: int = 250, threads: int = 0, force: bool = False) -> None:
    """Train modular addition (P = 113) at w0 = 0.1, 1 and 10, and show who groks.

    Ends with a table (learning times, regime, compressibility, IPR) and a figure.

    Args:
        runs: Folder for the runs and the figure.
        epochs: Epochs; the grokker needs about 60 to generalise.
        threads: Stacks trained at the same time; 0 is one per core.
        force: Train again what the folder holds already.
    """
    console = make_console()
    started = time.perf_counter()
    configs = [RunConfig(w0=w0, epochs=epochs) for w0 in (0.1, 1.0, 10.0)]
    table = train_into(configs, runs, console, threads=threads, force=force)
    files = save(draw("demo", FIGURES, table), runs / "figures", "demo")
    console.print(summary_table(table))
    console.print(f"took {time.perf_counter() - started:.0f} s; one seed a scale, so no error bars: try")
    console.print("  grokfast train modular-addition --w0 0.1 1 10 --seeds 5", soft_wrap=True)
    for file in files:
        console.print(f"figure: {file.resolve()}", soft_wrap=True)
    console.print(f"runs:   {runs.resolve()}", soft_wrap=True)

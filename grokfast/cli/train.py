"""`grokfast train`: runs over initialisation scales and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from grokfast.cli.progress import make_console, training_progress
from grokfast.errors import ConfigError
from grokfast.runs import RunTable, load, regime_of
from grokfast.store import Store
from grokfast.sweep.engine import cores
from grokfast.tasks import ModularAddition, Task
from grokfast.training import RunConfig, train_runs

Runs = Annotated[Path, tyro.conf.arg(name="runs", help="Folder of runs.")]


def train_modular_addition(
    runs: Path = Path("runs"),
    w0: tuple[float, ...] = (0.1, 1.0, 10.0),
    seeds: int = 1,
    first_seed: int = 0,
    P: int = 113,
    hidden: tuple[int, ...] = (512,),
    train_fraction: float = 0.7,
    label_noise: float = 0.0,
    epochs: int = 1000,
    batch_size: int = 64,
    optimizer: str = "adam",
    learning_rate: float = 5e-3,
    weight_decay: float = 3e-5,
    momentum: float = 0.9,
    reshuffle: bool = False,
    train_metrics: str = "running",
    precision: str = "float32",
    checkpoint_schedule: str = "last",
    feature_schedule: str = "log:50",
    compressibility_schedule: str = "last",
    test_schedule: str = "every:1",
    geometry: str = "",
    geometry_schedule: str = "every:1",
    geometry_step: int = 1,
    geometry_stiff: float = 0.0,
    threads: int = 0,
    device: str = "cpu",
    force: bool = False,
) -> None:
    """Train MLPs on modular addition over initialisation scales and seeds.

    Runs that the folder holds already are not trained again. Schedules are 'every:N', 'log:N', 'at:E1+E2', 'last'
    or 'never'.

    Args:
        runs: Folder of runs.
        w0: Initialisation scales, each > 0.
        seeds: Number of seeds.
        first_seed: The first of them.
        P: Modulus, at least 2.
        hidden: Widths of the hidden layers.
        train_fraction: Share of the P*P pairs used for training.
        label_noise: Share of training labels replaced by a wrong class.
        epochs: Epochs.
        batch_size: Samples a step.
        optimizer: adam (L2 decay), adamw or sgd.
        learning_rate: Step size.
        weight_decay: Decay coefficient.
        momentum: Momentum of sgd.
        reshuffle: Draw the batch order anew each epoch.
        train_metrics: running (over the epoch's batches) or full (a pass after it).
        precision: float32 or float64.
        checkpoint_schedule: Epochs whose parameters are stored (the last always is).
        feature_schedule: Epochs at which IPRs are taken (at the last they always are).
        compressibility_schedule: Epochs at which compressibility is measured (at the last it always is).
        test_schedule: Epochs with a test pass (the last always has one).
        geometry: Metrics of the trajectory's geometry, joined by +, such as logit-16+softmax-all+softmax-all-full.
        geometry_schedule: Epochs at which geometry is measured.
        geometry_step: Epochs that a step of the trajectory spans.
        geometry_stiff: Final Fisher diagonal from which parameters are stiff, 0.1 in the paper; trains twice.
        threads: Stacks trained at the same time; 0 is one per core.
        device: cpu or cuda.
        force: Train also what the folder holds already.
    """
    task = ModularAddition(P=P, hidden=hidden, train_fraction=train_fraction, label_noise=label_noise)
    shared: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "momentum": momentum,
        "reshuffle": reshuffle,
        "train_metrics": train_metrics,
        "precision": precision,
        "checkpoint_schedule": checkpoint_schedule,
        "feature_schedule": feature_schedule,
        "compressibility_schedule": compressibility_schedule,
        "test_schedule": test_schedule,
        "geometry": geometry,
        "geometry_schedule": geometry_schedule,
        "geometry_step": geometry_step,
        "geometry_stiff": geometry_stiff,
    }
    train_grid(task, w0, range(first_seed, first_seed + seeds), shared, runs, "fig02b", force, threads, device)


def train_grid(
    task: Task,
    w0: Sequence[float],
    seeds: Sequence[int],
    shared: Mapping[str, Any],
    runs: Path,
    figure: str,
    force: bool,
    threads: int,
    device: str,
) -> None:
    """Train every combination of scale and seed, show the table and name a figure to draw next."""
    if not seeds:
        raise ConfigError(f"seeds must be at least 1, got {len(seeds)}")
    if not w0:
        raise ConfigError("w0 must name at least one initialisation scale, got none")
    configs = [RunConfig(task=task, w0=scale, seed=seed, **shared) for seed in seeds for scale in w0]
    console = make_console()
    table = train_into(configs, runs, console, force=force, threads=threads, device=device)
    console.print(summary_table(table))
    console.print(f"\n{len(table)} runs lie in {runs.resolve()}; next: grokfast figure {figure} --runs {runs}")


def train_into(
    configs: Sequence[RunConfig],
    folder: Path,
    console: Console,
    *,
    force: bool = False,
    threads: int = 0,
    device: str = "cpu",
) -> RunTable:
    """Train what the folder lacks, with progress, and return the table of exactly these configurations."""
    if threads < 0:
        raise ConfigError(f"threads must be at least 0, got {threads}")
    store = Store(folder)
    missing = [config for config in configs if force or not store.has(config.key)]
    console.print(f"{len(configs)} runs: {len(configs) - len(missing)} are in {folder}, {len(missing)} to train")
    with training_progress(sum(config.epochs for config in missing), console) as progress:
        train_runs(
            configs,
            store,
            force=force,
            threads=threads or cores(),
            device=_device(device),
            on_epoch=progress,
        )
    keys = {config.key for config in configs}
    table = load(folder)
    return RunTable(store, [row for row in table.rows if row["key"] in keys], [])


def _device(name: str) -> str:
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device must be 'cpu' or a CUDA device that torch can use, got {name!r}: {reason}") from None
    return name


_OWN_COLUMNS = {
    "modular-addition": {"IPR out": "ipr_output", "IPR in": "ipr_input", "dead": "dead_output"},
    "ising": {"r(E)": "hidden_mean_energy", "r(|M|)": "hidden_mean_abs_magnetization", "const": "hidden_constant"},
}
"""Summaries of a task's own features that the table shows, by heading."""

_LEGEND = {
    "modular-addition": "IPR: mean over live neurons, real basis",
    "ising": "r: mean |r| of the last hidden layer's neurons that are not constant",
}


def summary_table(table: RunTable) -> Table:
    """Times, regime, accuracies, compressibility and the tasks' features of each run."""
    tasks = [name for name in _OWN_COLUMNS if any(row["task"] == name for row in table.rows)]
    own = [(heading, column) for name in tasks for heading, column in _OWN_COLUMNS[name].items()]
    shown = Table(
        title="; ".join(["epochs count from 1; c: compressibility", *(_LEGEND[name] for name in tasks)]),
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
    )
    headings = ["w0", "seed", "t_train", "t_test", "t_grok", "regime", "test acc", "c", *(name for name, _ in own)]
    for name in headings:
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table.rows:
        if row["status"] == "failed":
            shown.add_row(f"{row['w0']:g}", str(row["seed"]), *["-"] * 3, "failed")
            continue
        if row["status"] == "diverged":
            shown.add_row(f"{row['w0']:g}", str(row["seed"]), *["-"] * 3, f"diverged in epoch {row['diverged_epoch']}")
            continue
        known = row.get("t_train") is not None
        shown.add_row(
            f"{row['w0']:g}",
            str(row["seed"]),
            *[str(row[name]) if known else "-" for name in ("t_train", "t_test", "t_grok")],
            regime_of(row),
            f"{row['end_test_accuracy']:.2%}",
            _number(row["compressibility"]),
            *[_number(row.get(column), whole=heading in ("dead", "const")) for heading, column in own],
        )
    return shown


def _number(value: float | None, whole: bool = False) -> str:
    return "-" if value is None else f"{value:.{0 if whole else 2}f}"

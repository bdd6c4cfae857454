"""`grokfast train`: runs of one task over initialisation scales and seeds; its options are the task's fields."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from grokfast.cli.common import Runs, next_figure, train_into
from grokfast.cli.options import check_apart, chosen, helps, option_fields
from grokfast.cli.printing import call, make_console, say, tell
from grokfast.cli.tables import summary_table
from grokfast.errors import ConfigError
from grokfast.tasks import TASKS, Task, find_task
from grokfast.training import RunConfig

_PER_RUN = ("task", "w0", "seed")


@dataclasses.dataclass
class Grid:
    """What is trained, and how.

    Args:
        runs: Folder of runs. Those that it holds already are not trained again.
        w0: Initialisation scales, each > 0: every initial parameter is multiplied by it.
        seeds: Number of seeds.
        first_seed: The first of them.
        threads: Stacks trained at the same time; 0 is one per core.
        device: cpu or cuda.
        force: Train also what the folder holds already.
        keep_state: Keep the runs' end states, so that runs of more epochs go on from them.
    """

    runs: Runs = Path("runs")
    w0: tuple[float, ...] = (0.1, 1.0, 10.0)
    seeds: int = 1
    first_seed: int = 0
    threads: int = 0
    device: str = "cpu"
    force: bool = False
    keep_state: bool = False


def main(arguments: Sequence[str]) -> None:
    """The command: ``grokfast train TASK [OPTIONS]``."""
    if not arguments or arguments[0] in ("--help", "-h"):
        say(listing())
        return
    name = arguments[0]
    if name.startswith("-"):
        raise ConfigError(f"expected a task before {name}: grokfast train TASK [OPTIONS]\n\n{listing()}")
    task = find_task(name)
    options = call(options_of(task), arguments[1:], f"grokfast train {name}", _description(task))
    train(task, options)


def listing() -> str:
    """The tasks there are, and how to train one's own."""
    width = max(map(len, TASKS))
    lines = [f"  {name:{width}}  {(task.__doc__ or '').strip().splitlines()[0]}" for name, task in TASKS.items()]
    return "\n".join(
        [
            "usage: grokfast train TASK [OPTIONS]",
            "",
            "tasks (`grokfast train TASK --help` lists the options of one):",
            *lines,
            "  MODULE:CLASS  a task of your own, from a file in this folder or an installed package",
        ]
    )


def options_of(task: type[Task]) -> type[Any]:
    """The class of a task's options: those of every task, the task's fields, and a run's."""
    hints, texts = typing.get_type_hints(Grid, include_extras=True), helps(Grid)
    grid = [
        (field.name, Annotated[hints[field.name], tyro.conf.arg(help=texts[field.name])], field)
        for field in dataclasses.fields(Grid)
    ]
    run = option_fields(RunConfig, _PER_RUN, _defaults(task))
    check_apart(task, [name for name, *_ in [*grid, *run]])
    fields = [*option_fields(task), *grid, *run]
    fields.sort(key=lambda entry: entry[2].default is not dataclasses.MISSING)
    return dataclasses.make_dataclass("Options", fields)


def train(task: type[Task], options: Any) -> None:
    """Train every combination of scale and seed, show the table and name a figure to draw next."""
    if options.seeds < 1:
        raise ConfigError(f"seeds must be at least 1, got {options.seeds}")
    if not options.w0:
        raise ConfigError("w0 must name at least one initialisation scale, got none")
    made = task(**chosen(options, task))
    shared = {name: value for name, value in chosen(options, RunConfig).items() if name not in _PER_RUN}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    configs = [RunConfig(task=made, w0=w0, seed=seed, **shared) for seed in seeds for w0 in options.w0]
    console = make_console()
    table = train_into(
        configs,
        options.runs,
        console,
        force=options.force,
        threads=options.threads,
        device=options.device,
        keep_state=options.keep_state,
    )
    console.print(summary_table(table))
    tell(console, f"\n{len(table)} runs lie in {options.runs.resolve()}")
    tell(console, next_figure(table))


def _defaults(task: type[Task]) -> dict[str, Any]:
    """The training that a task asks for by itself; of one that cannot be made without arguments, nothing is known."""
    try:
        return dict(task().defaults)
    except (TypeError, ConfigError):
        return {}


def _description(task: type[Task]) -> str:
    first = (task.__doc__ or task.__name__).strip().splitlines()[0]
    return f"{first} Schedules are 'every:N', 'log:N', 'at:E1+E2', 'last' or 'never'."

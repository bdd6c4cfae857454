"""Which figures there are, and the choice of the runs that each one shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from grokfast._checks import nearest
from grokfast.errors import InputError, MissingRunsError
from grokfast.figures.style import style
from grokfast.runs import Run, RunTable, regime_of


@dataclass(frozen=True)
class FigureSpec:
    """One figure of the paper, or of our own.

    Attributes:
        name: As on the command line: ``fig05a``.
        title: What it shows.
        condition: SQL condition of the runs it shows.
        command: What trains such runs.
        draw: Draws it from the chosen runs.
        minimum_scales: How many different w0 it needs.
        apart: A field of the configuration (``"task"`` too) whose values it shows apart, each in a setting of its own.
    """

    name: str
    title: str
    condition: str
    command: str
    draw: Callable[[Sequence[Run], RunTable], Figure]
    minimum_scales: int = 1
    apart: str | None = None


MAIN_TEXT = "task = 'modular-addition' AND weight_decay = 3e-5 AND batch_size = 64 AND status = 'finished'"
"""The setting of the paper's main text."""

MAIN_COMMAND = "grokfast train modular-addition --w0 0.1 0.2 0.4 0.7 1 2 4 10 --seeds 5"

ISING_TEXT = "task = 'ising' AND weight_decay = 0.1 AND status = 'finished'"
"""The setting of the paper's Ising runs."""

ISING_COMMAND = "grokfast sweep fig09 --size laptop"

ISING_DYNAMICS = "grokfast sweep fig07 --size laptop"

_IGNORED = {
    "w0",
    "seed",
    "checkpoint_schedule",
    "feature_schedule",
    "compressibility_schedule",
    "test_schedule",
    "geometry",
    "geometry_schedule",
    "geometry_step",
    "geometry_stiff",
}


def choose(spec: FigureSpec, table: RunTable, where: str | None = None) -> list[Run]:
    """The runs that a figure shows: equal in all but w0, seed and what was observed.

    Args:
        spec: The figure.
        table: All runs of a store.
        where: A further SQL condition.

    Returns:
        Runs in the order of w0 and seed.

    Raises:
        MissingRunsError: If there are too few; the message has the command that trains them.
        InputError: If the runs differ in more than w0 and seed, so that averaging them would mix settings.
    """
    chosen = table.where(spec.condition)
    if where:
        chosen = chosen.where(where)
    runs = list(chosen)
    if len({run.config.w0 for run in runs}) < spec.minimum_scales:
        condition = f"({spec.condition}) AND ({where})" if where else spec.condition
        raise MissingRunsError(
            f"{spec.name} needs runs with {condition} at {spec.minimum_scales} or more values of w0, but "
            f"{table.store.root} holds {len(runs)} such runs; make them with\n"
            f"  {spec.command} --runs {table.store.root}"
        )
    if spec.apart is None:
        return one_setting(spec.name, runs)
    return [run for part in split_by(runs, spec.apart).values() for run in one_setting(spec.name, part)]


def split_by(runs: Sequence[Run], field: str) -> dict[str, list[Run]]:
    """Runs grouped by a field of their configuration, or by ``"task"``, in the order they first appear."""
    parts: dict[str, list[Run]] = {}
    for run in runs:
        value = run.config.task.name if field == "task" else getattr(run.config, field)
        parts.setdefault(str(value), []).append(run)
    return parts


def one_setting(name: str, runs: Sequence[Run]) -> list[Run]:
    """The runs, checked to differ in w0, seed and observation schedules only, one of each w0 and seed.

    Two runs that differ in schedules alone are the same training, observed twice: counted twice they would pass for
    a further seed and narrow the error bars.

    Args:
        name: Of what they are shown in, for the message.
        runs: In any order.

    Raises:
        InputError: If they differ in anything else.
    """
    values: dict[str, set[str]] = {}
    for run in runs:
        config = run.config.to_dict()
        for field, value in {**config.pop("task"), **config}.items():
            if field not in _IGNORED and field not in run.config.task.unkeyed:
                values.setdefault(field, set()).add(str(value))
    mixed = {field: sorted(found) for field, found in values.items() if len(found) > 1}
    if mixed:
        field, found = next(iter(mixed.items()))
        raise InputError(
            f"{name} would mix runs that differ in {mixed}; "
            f'choose with --where, for example --where "{field} = {found[0]}"'
        )
    return list({(run.config.w0, run.config.seed): run for run in runs}.values())


def draw(name: str, figures: dict[str, FigureSpec], table: RunTable, where: str | None = None) -> Figure:
    """Draw one figure from a store.

    Raises:
        InputError: If there is no figure of this name.
        MissingRunsError: If the store lacks the runs.
    """
    if name not in figures:
        raise InputError(f"figure must be one of {sorted(figures)}, got {name!r}{nearest(name, figures)}")
    spec = figures[name]
    runs = choose(spec, table, where)
    with style():
        return spec.draw(runs, table)


def by_scale(runs: Sequence[Run]) -> dict[float, list[Run]]:
    """Runs grouped by w0, rising."""
    groups: dict[float, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.config.w0, run.config.seed)):
        groups.setdefault(run.config.w0, []).append(run)
    return groups


def regime(runs: Sequence[Run]) -> str:
    """The regime of the majority of the seeds: ``"groks"``, ``"learns"`` or ``"not generalised"``."""
    names = [regime_of(run.summary) for run in runs]
    return max(sorted(set(names)), key=names.count)

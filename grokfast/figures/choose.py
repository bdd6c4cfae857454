"""Which runs a figure or a report shows: those of one setting, the paper's if the folder has it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grokfast.errors import InputError, MissingRunsError
from grokfast.figures.kept import lacking, lacking_kept
from grokfast.figures.spec import WHOLE, FigureSpec
from grokfast.runs import Run, RunTable
from grokfast.studies import Setting, find_study, setting_of, stored_by_size, stored_runs, varying

_SHOWN = 12  # settings that a message lists


@dataclass
class Group:
    """Runs of one setting.

    Attributes:
        setting: What they have in common.
        runs: One a w0 and seed, with all that is needed, in the order of w0 and seed.
        left_out: Further runs of the setting, and why they are not shown.
        lacks: What the first of those lacks.
        measurable: Whether ``grokfast measure`` would give it.
    """

    setting: Setting
    runs: list[Run] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    measurable: bool = True

    @property
    def scales(self) -> int:
        """How many different w0 there are."""
        return len({scale_of(run) for run in self.runs})


@dataclass(frozen=True)
class Choice:
    """What a figure shows.

    Attributes:
        runs: In the order of w0 and seed; of a figure that shows settings apart, one setting after the other.
        left_out: Keys of runs of these settings that are not shown, and why.
    """

    runs: list[Run]
    left_out: Mapping[str, str]


def choose(spec: FigureSpec, table: RunTable, where: str | None = None) -> Choice:
    """The runs that a figure shows: of the paper's study if the table has it, else of the one setting there is.

    Args:
        spec: The figure.
        table: All runs of a store.
        where: A further SQL condition.

    Raises:
        MissingRunsError: If no setting has what the figure needs; the message has the command that makes it.
        InputError: If several settings have it, none of them the study's; the message lists them, each with the
            condition that chooses it.
    """
    if spec.apart == WHOLE:
        return _whole(spec, table.where(where) if where else table)
    groups = groups_of(table.where(where) if where else table, spec.columns, spec.curves, spec.kept, spec.lacks)
    able = [group for group in groups if group.scales >= spec.scales]
    if not able:
        raise _missing(spec, table, where, groups)
    study = frozenset(setting for name in spec.studies for setting in find_study(name).settings)
    if spec.apart is None:
        chosen = [the_one(spec.name, able, table, study)]
    else:
        chosen = _one_each(spec.name, spec.apart, able, table, study)
    return Choice(
        [run for group in chosen for run in group.runs],
        {key: why for group in chosen for key, why in group.left_out.items()},
    )


def _whole(spec: FigureSpec, table: RunTable) -> Choice:
    """Every run of a figure's studies, whatever its setting, of one size; those that lack something are left out."""
    sizes = stored_by_size(table, spec.studies)
    if not sizes:
        stored_runs(table, spec.studies[0])  # says which command makes them
    runs: list[Run] = []
    left_out: dict[str, str] = {}
    lacks: list[str] = []
    for found in sizes:
        left_out = {}
        for run in {run.key: run for stored in found.values() for run in stored.runs}.values():
            lacks = [*lacking(run, spec.columns, spec.curves), *lacking_kept(run, spec.kept)]
            if lacks:
                left_out[run.key] = f"without {', '.join(lacks)}"
            else:
                runs.append(run)
        if runs:
            break
    if not runs:
        raise MissingRunsError(
            f"{spec.name} needs {', '.join(lacks)}, which the runs in {table.store.named} do not have; make them with\n"
            f"  grokfast report beyond --runs {shlex.quote(str(table.store.named))}"
        )
    return Choice(runs, left_out)


def groups_of(
    table: RunTable,
    columns: Sequence[str] = (),
    curves: Sequence[str] = (),
    kept: Sequence[str] = (),
    more: Callable[[Run], str | None] | None = None,
) -> list[Group]:
    """Runs by setting, sorted into those that have what is needed and those that lack it.

    ``more`` says of a run that has all that is named what it lacks besides.

    Two runs of the same w0 and seed are one training, looked at twice: the first that has everything is taken.
    """
    groups: dict[Setting, Group] = {}
    for run in table:
        setting = setting_of(run.record["config"])
        group = groups.setdefault(setting, Group(setting))
        if run.record["status"] != "finished":
            group.left_out[run.key] = str(run.record["status"])
            continue
        lacks = list(lacking(run, columns, curves))
        unkept = list(lacking_kept(run, kept))
        if more is not None and not (lacks or unkept) and (lacked := more(run)):
            lacks.append(lacked)
        if lacks or unkept:
            group.left_out[run.key] = f"without {', '.join([*lacks, *unkept])}"
            if not group.lacks:
                group.lacks = [*lacks, *unkept]
                group.measurable = all(is_measurable(name) for name in lacks)
        else:
            group.runs.append(run)
    for group in groups.values():
        first: dict[tuple[float, int], Run] = {}
        for run in group.runs:
            first.setdefault((scale_of(run), seed_of(run)), run)
        group.runs = [first[place] for place in sorted(first)]
    return list(groups.values())


def the_one(name: str, groups: Sequence[Group], table: RunTable, preferred: Collection[Setting] = ()) -> Group:
    """The one group there is, or the one of the study, or the one of the study's task.

    Args:
        name: Of what it is shown in, for the message.
        groups: At least one.
        table: Whose rows have the columns that a condition may name.
        preferred: The study's settings, of any length.

    Raises:
        InputError: If there are several; they are listed, each with the condition that chooses it.
    """
    tasks = {setting.fields["task.name"] for setting in preferred}
    of_study = [group for group in groups if group.setting.of_any_length in preferred]
    of_task = [group for group in groups if group.setting.fields["task.name"] in tasks]
    groups = of_study or (of_task if len(of_task) == 1 else groups)
    if len(groups) == 1:
        return groups[0]
    raise InputError(
        f"{name} shows one setting, and {table.store.named} holds {len(groups)} that it could show; choose one:\n"
        + "\n".join(conditions(groups, table))
    )


def conditions(groups: Sequence[Group], table: RunTable) -> list[str]:
    """A line for each group: the ``--where`` that chooses it among these, and how many runs it has."""
    lines = [f'  --where "{condition(group, groups, table)}"   ({len(group.runs)} runs)' for group in groups[:_SHOWN]]
    return lines if len(groups) <= _SHOWN else [*lines, f"  and {len(groups) - _SHOWN} more"]


def condition(group: Group, groups: Sequence[Group], table: RunTable) -> str:
    """SQL that chooses one group of runs among several.

    Args:
        group: One of the groups that has a run.
        groups: All.
        table: Whose rows have the columns.
    """
    (row,) = (row for row in table.rows if row["key"] == group.runs[0].key)
    task = group.setting.fields["task.name"]
    alike = [other.setting for other in groups if other.setting.fields["task.name"] == task]
    names = varying(alike) if len(alike) == len(groups) else ["task.name", *varying(alike)]
    columns = [_column(name, row) for name in names]
    return " AND ".join(_equals(name, row) for name in columns if name in row) or "true"


def _one_each(
    name: str, apart: str, groups: Sequence[Group], table: RunTable, preferred: Collection[Setting]
) -> list[Group]:
    """One group for each value of a field. But for the task, they must be equal in all other fields."""
    if apart == "task":
        parts: dict[str, list[Group]] = {}
        for group in groups:
            parts.setdefault(str(group.setting.fields["task.name"]), []).append(group)
        return [the_one(name, parts[task], table, preferred) for task in sorted(parts)]
    of_study = [group for group in groups if group.setting.of_any_length in preferred]
    groups = of_study or groups
    if len({group.setting.without(apart) for group in groups}) > 1:
        the_one(name, groups, table)
    return sorted(groups, key=lambda group: float(group.setting.fields[apart]))


def _missing(spec: FigureSpec, table: RunTable, where: str | None, groups: Sequence[Group]) -> MissingRunsError:
    root = table.store.named
    quoted = shlex.quote(str(root))
    under = f" with {where}" if where else ""
    make = [f"  {find_study(name).command} --runs {quoted}" for name in spec.studies] or [
        f"  grokfast train TASK --feature-schedule log:50 --compressibility-schedule log:50 --runs {quoted}"
    ]
    enough = [group for group in groups if group.runs]
    lacking_some = [group for group in groups if group.lacks]
    if enough:
        found = f"holds at most {max(group.scales for group in enough)} of one setting{under}"
        text = f"{spec.name} needs runs at {spec.scales} or more values of w0, but {root} {found}"
    elif lacking_some:
        group = next((group for group in lacking_some if group.measurable), lacking_some[0])
        text = f"{spec.name} needs {', '.join(group.lacks)}, which the runs in {root}{under} do not have"
        if group.measurable:
            make = [f"  grokfast measure --runs {quoted}"]
    else:
        text = f"{spec.name} needs finished runs{under}, but {root} holds none"
    return MissingRunsError("\n".join([f"{text}; make them with", *make]))


def is_measurable(name: str) -> bool:
    """Whether ``grokfast measure`` gives a column."""
    return name.startswith(("gini_", "norm_", "loss_", "odd_share"))


def _column(name: str, row: Mapping[str, Any]) -> str:
    """What a field is called in a table: those of the task without their prefix, unless that name is taken."""
    if name == "task.name":
        return "task"
    inner = name.removeprefix("task.")
    return f"task_{inner}" if inner != name and f"task_{inner}" in row else inner


def _equals(column: str, row: Mapping[str, Any]) -> str:
    value = row[column]
    name = column if column.isidentifier() else '\\"' + column + '\\"'
    if value is None:
        return f"{name} IS NULL"
    if isinstance(value, str):
        return f"{name} = '" + value.replace("'", "''") + "'"
    return f"{name} = {value!r}" if not isinstance(value, bool) else (name if value else f"NOT {name}")


def scale_of(run: Run) -> float:
    """Its w0."""
    return float(run.record["config"]["w0"])


def seed_of(run: Run) -> int:
    """Its seed."""
    return int(run.record["config"]["seed"])


def split_by(runs: Sequence[Run], field: str) -> dict[str, list[Run]]:
    """Runs grouped by a field of their configuration, or by ``"task"``, in the order they first appear."""
    parts: dict[str, list[Run]] = {}
    for run in runs:
        parts.setdefault(task_of(run) if field == "task" else str(run.record["config"][field]), []).append(run)
    return parts


def task_of(run: Run) -> str:
    """The name of its task."""
    return str(run.record["config"]["task"]["name"])


def title_of(runs: Sequence[Run]) -> str:
    """The title of the runs' task, with a capital letter."""
    title = str(runs[0].record.get("title") or task_of(runs[0]))
    return title[:1].upper() + title[1:]


def by_scale(runs: Sequence[Run]) -> dict[float, list[Run]]:
    """Runs grouped by w0, rising."""
    groups: dict[float, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (scale_of(run), seed_of(run))):
        groups.setdefault(scale_of(run), []).append(run)
    return groups


def ends(runs: Sequence[Run]) -> dict[float, list[Run]]:
    """Runs of the smallest and the largest w0, which stand for the two regimes."""
    groups = by_scale(runs)
    return {w0: groups[w0] for w0 in dict.fromkeys((min(groups), max(groups)))}


def regime(runs: Sequence[Run]) -> str:
    """The regime of the majority of the seeds: ``"groks"``, ``"learns"`` or ``"not generalised"``.

    Without accuracies there is none: then it says so.
    """
    names = [run.regime or "no accuracy" for run in runs]
    return max(sorted(set(names)), key=names.count)


def counted(count: int, what: str = "seed") -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {what}{'' if count == 1 else 's'}"

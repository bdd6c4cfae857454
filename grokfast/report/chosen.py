"""Which runs a report measures: those of the paper's study, or of its like on a smaller task; never of another task."""

from __future__ import annotations

from collections.abc import Sequence

from grokfast.errors import MissingRunsError
from grokfast.figures.choose import Group, by_scale, groups_of, seed_of, the_one
from grokfast.runs import Run, RunTable
from grokfast.studies import Setting, find_study


def runs_of(
    name: str,
    table: RunTable,
    study: str,
    *,
    columns: Sequence[str] = (),
    curves: Sequence[str] = (),
    exact: bool = True,
) -> list[Run]:
    """Runs of one setting, in the order of w0 and seed; none if there is no such setting.

    Taken are runs of the study's setting at any length; else runs of the same task that equal it in all fields but
    those of the task (a smaller P); else, unless ``exact``, runs of the one setting of the same task.

    Args:
        name: Of what they are shown in, for the message.
        table: Runs.
        study: Whose setting is wanted: one of a single task and setting.
        columns: What each run must have.
        curves: Columns of the history that each must have at two epochs or more.
        exact: Whether other settings of the same task are not wanted.

    Raises:
        InputError: If several settings would do.
    """
    (wanted,) = find_study(study).settings
    groups = [group for group in groups_of(table, columns, curves) if group.runs]
    groups = [group for group in groups if _task(group.setting) == _task(wanted)]
    alike = [group for group in groups if is_alike(group.setting, wanted)]
    chosen: Sequence[Group] = alike if alike or exact else groups
    return the_one(name, chosen, table, {wanted}).runs if chosen else []


def is_alike(setting: Setting, wanted: Setting) -> bool:
    """Whether a setting is the one that is wanted, but for its length and the size of the task."""
    return _task(setting) == _task(wanted) and _without_task(setting) == _without_task(wanted)


def missing_runs(what: str, table: RunTable, study: str, runs: Sequence[Run] = ()) -> MissingRunsError:
    """The error of a report that lacks runs, with the command that trains them.

    Args:
        what: What it needs.
        table: Where they were looked for.
        study: The study that has them.
        runs: What there is.
    """
    found = f"{len(by_scale(runs))} w0 and {len({seed_of(run) for run in runs})} seeds" if runs else "none"
    return MissingRunsError(
        f"the report needs {what}, but {table.store.root} holds {found}; make them with\n"
        f"  {find_study(study).command} --runs {table.store.root}"
    )


def _task(setting: Setting) -> object:
    return setting.fields["task.name"]


def _without_task(setting: Setting) -> Setting:
    """But for its length and the task's own fields; a batch of the whole train split is one at any size of it."""
    fields = setting.of_any_length.fields
    whole = ["batch_size"] if fields.get("task.train_size") == fields["batch_size"] else []
    return setting.of_any_length.without(*whole, *(name for name in fields if name.startswith("task.")))

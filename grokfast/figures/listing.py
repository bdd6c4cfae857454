"""What can be drawn from a folder of runs, and the drawing of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.figure import Figure

from grokfast._tables import PROSE, Fitted, Heading
from grokfast.errors import InputError, MissingRunsError
from grokfast.figures.choose import choose, condition, groups_of
from grokfast.figures.overlay import lay_over
from grokfast.figures.spec import FIGURES, FigureSpec, find_figure
from grokfast.figures.style import headline, style
from grokfast.figures.ticks import tidy_ticks
from grokfast.runs import Run, RunTable, load
from grokfast.studies import STUDIES, find_study, setting_of


def draw(
    name: str, table: RunTable, where: str | None = None, *, size: str = "page", sheet: str | None = None
) -> Figure:
    """Draw one figure from a store.

    Nothing is computed and nothing written: measures of end models are those that ``grokfast measure`` has kept.

    Args:
        name: As :func:`grokfast.figures.find_figure` takes it.
        table: Runs.
        where: A further SQL condition on them.
        size: For what it is drawn: ``"page"``, ``"column"`` (85 mm) or ``"slide"``.
        sheet: A style of Matplotlib's on top of ours, as :func:`grokfast.figures.style.style` takes it.

    Raises:
        InputError: If there is no figure of this name, no such size or style, or several settings could be shown.
        MissingRunsError: If the store lacks the runs, or what was to be measured of them; the message has the command.
    """
    spec = find_figure(name)
    if not spec.needs_runs:
        with style(size, sheet):
            return spec.draw([])
    choice = choose(spec, table, where)
    with style(size, sheet):
        figure = spec.draw(choice.runs)
        if spec.paper and is_papers(spec, choice.runs):
            lay_over(figure, spec.paper)
        if choice.left_out:
            _say_left_out(figure, choice.left_out)
        tidy_ticks(figure)
    return figure


def _say_left_out(figure: Figure, left_out: Mapping[str, str]) -> None:
    reasons = ", ".join(dict.fromkeys(left_out.values()))
    text = f"{len(left_out)} run{'s' * (len(left_out) > 1)} left out: {reasons}"
    # Above the panels: below them may be legends.
    headline(figure, "\n".join(filter(None, (figure.get_suptitle(), text))))


def is_papers(spec: FigureSpec, runs: Sequence[Run]) -> bool:
    """Whether all runs have a setting of the figure's studies, at any length: the paper's."""
    known = {setting for name in spec.studies for setting in find_study(name).settings}
    return {setting_of(run.record["config"]).of_any_length for run in runs} <= known


def draw_all(
    table: RunTable, where: str | None = None, *, size: str = "page", sheet: str | None = None
) -> Iterator[tuple[str, Figure | str]]:
    """Every figure in turn: its name, and the figure or the reason why it cannot be drawn.

    Args:
        table: Runs.
        where: A further SQL condition on them.
        size: As of :func:`draw`.
        sheet: As of :func:`draw`.

    Raises:
        InputError: If there is no such size or style.
    """
    with style(size, sheet):
        pass  # a name that does not exist is no figure's fault
    for name in FIGURES:
        try:
            yield name, draw(name, table, where, size=size, sheet=sheet)
        except (InputError, MissingRunsError) as error:
            yield name, str(error)


def listing(table: RunTable) -> Fitted:
    """All figures: what each shows, the study whose runs it needs, and whether the table has runs for it.

    Args:
        table: Runs; there may be none.
    """
    headings = [Heading("name", "left"), *(Heading(name, "left", PROSE) for name in ("shows", "study", "these runs"))]
    rows = (
        (name, spec.title, ", ".join(spec.studies) or "any" * spec.needs_runs, availability(name, table))
        for name, spec in FIGURES.items()
    )
    return Fitted(headings, rows, "figures: grokfast figure NAME --runs FOLDER")


def availability(name: str, table: RunTable) -> str:
    """Whether a figure can be drawn from these runs: ``yes``, ``choose with --where``, ``measure first`` or ``no``."""
    spec = find_figure(name)
    if not spec.needs_runs:
        return "needs none"
    try:
        return f"yes, {len(choose(spec, table).runs)}"
    except MissingRunsError as error:
        return "after grokfast measure" if "grokfast measure" in str(error) else "no"
    except InputError:
        return "choose with --where"


def suggested(table: RunTable) -> str:
    """The figure to draw first of these runs: one of their study, else a general one.

    Args:
        table: Runs, of one setting or several.
    """
    groups = groups_of(table)
    settings = {group.setting.of_any_length for group in groups if group.runs}
    for study in STUDIES.values():
        if settings and settings <= study.settings:
            for name in study.figures:
                if name in FIGURES and availability(name, table).startswith("yes"):
                    return name
    scales = max((group.scales for group in groups), default=0)
    return "pruning" if scales > 1 and not availability("pruning", table).startswith("no") else "training"


def suggested_command(table: RunTable) -> list[str]:
    """The command that draws :func:`suggested` of these runs, whatever else lies in their folder.

    Args:
        table: Runs of a store, at least one of them finished.
    """
    name = suggested(table)
    command = ["grokfast", "figure", name, "--runs", str(table.store.named)]
    everything = load(table.store.root)
    keys = {row["key"] for row in table.rows}
    try:
        if {run.key for run in choose(FIGURES[name], everything).runs} & keys:
            return command
    except InputError:
        pass
    groups = groups_of(everything, FIGURES[name].columns)
    mine = next((group for group in groups if keys & {run.key for run in group.runs}), None)
    if mine is None:
        return command
    return [*command, "--where", condition(mine, groups, everything)]

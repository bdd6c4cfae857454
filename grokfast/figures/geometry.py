"""What the figures of geometry share: which runs, which metrics, and curves over epochs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from grokfast.errors import InputError
from grokfast.figures.choose import by_scale, regime, scale_of, split_by, task_of, title_of
from grokfast.figures.kept import values_of
from grokfast.figures.style import GROKKING, LEARNING, NEUTRAL, band, headline, over_seeds
from grokfast.runs import Run

STUDIES = ("geometry-diagonal", "geometry")
"""The studies that figures of geometry show."""

_LOOK = re.compile(r"geometry:[^:]+:(?P<step>\d+):(?P<stiff>[^:]+)")
_LENGTH = re.compile(r"geometry_([a-z]+_(?:all|\d+)(?:_train)?(?:_full)?)_length")

PAPERS_METRIC = "logit-16"
"""The metric of the published code."""

_SHOWN = (PAPERS_METRIC, "softmax-all")


@dataclass(frozen=True)
class Side:
    """The runs of one regime: of the smallest w0 or of the largest.

    Attributes:
        name: ``"learning"`` or ``"grokking"``, as the paper calls them.
        runs: One a seed.
        color: Of its curves.
    """

    name: str
    runs: Sequence[Run]
    color: str

    @property
    def label(self) -> str:
        """For a legend: the scale, and the regime that was found."""
        return f"$w_0$ = {scale_of(self.runs[0]):g} ({regime(self.runs)})"

    def curves(self, column: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Epochs ``[n]`` at which every seed has a value, and the values ``[seeds, n]``."""
        values = np.stack([run.history[column] for run in self.runs])
        seen = np.flatnonzero(np.isfinite(values).all(0))
        return self.runs[0].history["epoch"][seen], values[:, seen]


def by_task(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by the name of their task: Ising first, as the paper's panels are."""
    return dict(sorted(split_by(runs, "task").items()))


@dataclass(frozen=True)
class Look:
    """How a run's geometry was looked at.

    Attributes:
        steps: Epochs between the checkpoints that a step joins.
        schedules: The epochs.
        stiff: Final Fisher diagonal from which a parameter is stiff; 0 without a split.
    """

    steps: tuple[str, ...]
    schedules: tuple[str, ...]
    stiff: float


def look_of(run: Run) -> Look:
    """How a run's geometry was looked at, from its record."""
    found = [(_LOOK.fullmatch(name), schedules) for name, schedules in run.record["looks"].items()]
    looks = [(match, schedules) for match, schedules in found if match is not None]
    return Look(
        tuple(sorted({match["step"] for match, _ in looks})),
        tuple(sorted({schedule for _, schedules in looks for schedule in schedules})),
        max((float(match["stiff"]) for match, _ in looks), default=0.0),
    )


def sides(runs: Sequence[Run]) -> list[Side]:
    """Smallest and largest w0 of one task; one side where there is one w0.

    Raises:
        InputError: If the runs measured steps of different lengths, or at different epochs.
    """
    looks = sorted({look_of(run) for run in runs}, key=str)
    if len(looks) > 1:
        field, one, other = next(
            (field, getattr(looks[0], field), getattr(looks[1], field))
            for field in ("steps", "schedules", "stiff")
            if getattr(looks[0], field) != getattr(looks[1], field)
        )
        raise InputError(
            f"geometry would mix runs that looked differently ({field}: {one} and {other}); choose with --where, for "
            'example by "geometry_step = 1", geometry_schedule or geometry_stiff'
        )
    groups = by_scale(runs)
    found = [Side("learning", groups[min(groups)], LEARNING)]
    if len(groups) > 1:
        found.append(Side("grokking", groups[max(groups)], GROKKING))
    return found


def metrics_of(runs: Sequence[Run]) -> list[str]:
    """The metrics that all runs were measured in, the paper's first."""
    found = [{match[1].replace("_", "-") for match in map(_LENGTH.fullmatch, run.history) if match} for run in runs]
    common = set.intersection(*found)
    return sorted(common, key=lambda name: (_SHOWN.index(name) if name in _SHOWN else len(_SHOWN), name))


def shown_metrics(runs: Sequence[Run]) -> list[str]:
    """Two metrics at most: the paper's (logits, 16 samples) and the exact softmax Fisher, where they were measured.

    Raises:
        InputError: If the runs have no metric in common.
    """
    found = metrics_of(runs)
    if not found:
        raise InputError("the runs have no metric in common; choose with --where \"geometry = '...'\"")
    return found[:2]


def panels(runs: Sequence[Run]) -> list[tuple[list[Run], str]]:
    """The runs of one task and a metric: one entry a column of a figure."""
    return [(mine, metric) for mine in by_task(runs).values() for metric in shown_metrics(mine)]


def column(metric: str, what: str) -> str:
    """Name of a history column, such as ``geometry_logit_16_stiff_cosine``."""
    return f"geometry_{metric.replace('-', '_')}_{what}"


def panel_label(runs: Sequence[Run], metric: str, what: str) -> str:
    """Label of the axes that show one task in one metric, by which the paper's curves find them."""
    return f"{task_of(runs[0])} {metric} {what}"


def metric_title(metric: str) -> str:
    """In words: ``logit-16`` is "logit Fisher, 16 samples"."""
    fisher, samples, *more = metric.split("-")
    of = "training samples" if "train" in more else "samples"
    return f"{fisher} Fisher{', whole matrix' if 'full' in more else ''},\n{samples} {of}"


def draw_curves(
    axes: Axes, side: Side, name: str, label: str | None = None, *, geometric: bool = False, **line: object
) -> None:
    """One regime's mean curve with its band, geometric for lengths; nothing where there are no values."""
    epochs, values = side.curves(name)
    if epochs.size:
        band(axes, epochs, values, geometric=geometric, **{"color": side.color, "label": label, **line})


def mark_learning(axes: Axes, side: Side) -> None:
    """A dotted line at the mean t_test."""
    times = values_of(side.runs, "t_test")
    if np.isfinite(times).any():
        axes.axvline(float(np.nanmean(times)), color=side.color, linestyle=":", linewidth=0.8)


def title(figure: Figure, what: str, runs: Sequence[Run], mean: str = "mean") -> None:
    """What is shown, over how many seeds, and how long a step is."""
    seeds = max(len(side.runs) for mine in by_task(runs).values() for side in sides(mine))
    steps = [(title_of(mine), look_of(mine[0]).steps) for mine in by_task(runs).values()]
    spans = ", ".join(f"{task} f = {'/'.join(step)}" for task, step in steps)
    headline(figure, f"{what}: {over_seeds(seeds, mean)} ({spans})")


def side_legend(figure: Figure, runs: Sequence[Run], looks: Mapping[str, str]) -> None:
    """One legend below the panels: the regimes of each task by colour, and what each kind of line is.

    Args:
        figure: The figure.
        runs: Of one task or several.
        looks: Line styles by what they mean.
    """
    tasks = by_task(runs).values()
    named = [
        (Line2D([], [], color=side.color), f"{title_of(mine)}, {side.label}" if len(tasks) > 1 else side.label)
        for mine in tasks
        for side in sides(mine)
    ]
    named += [(Line2D([], [], color=NEUTRAL, linestyle=dashes), words) for words, dashes in looks.items()]  # type: ignore[arg-type]
    figure.legend(*zip(*named, strict=True), loc="outside lower left", ncols=2 if len(tasks) > 1 else len(named))


def zero_line(axes: Axes) -> None:
    """A thin line at zero."""
    axes.axhline(0, color=NEUTRAL, linewidth=0.6)

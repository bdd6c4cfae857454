"""Features, compressibility, accuracy and loss along training, in both regimes: figures 6 and 7, and of any task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from grokfast.errors import InputError
from grokfast.figures.choose import counted, ends, regime
from grokfast.figures.curves import curve, loss_label
from grokfast.figures.kept import described, history_names, still_rising
from grokfast.figures.overlay import Digitised
from grokfast.figures.spec import FigureSpec, register_figure
from grokfast.figures.style import FEATURE_COLORS, FEATURE_MARKERS, GROKKING, LEARNING, NEUTRAL, new_figure, note
from grokfast.measures import plateau_from
from grokfast.runs import Run

QUANTITIES = {"energy": "E", "magnetization": "M", "abs_magnetization": "|M|"}
"""The features of the Ising task in the history's columns, and their symbols."""

Features = Mapping[str, str]
"""Columns of the history by the label that they are drawn with."""


def last_hidden(run: Run) -> str:
    """Name of the last hidden layer of the Ising task in the run's columns and arrays."""
    count = len(run.record["config"]["task"]["hidden"])
    return "hidden" if count == 1 else f"hidden{count}"


def plateau_of(run: Run) -> tuple[int, int]:
    """First and last epoch of the plateau of a run with a t_train, by :func:`grokfast.measures.plateau`."""
    start = int(run.summary["t_train"])
    return start, plateau_from(start, *run.seen("test_accuracy"))


def mark_times(panels: Iterable[Axes], members: Sequence[Run]) -> dict[str, str]:
    """Vertical lines at the medians over seeds of t_train, the end of the plateau and t_test.

    Runs that do not grok have no plateau; those that still rise at the end have no learning times yet.

    Args:
        panels: Where.
        members: Runs of one w0.

    Returns:
        Dashes of those that there are, by name with the epoch.
    """
    found: dict[str, list[float]] = {"$t_{train}$": [], "plateau ends": [], "$t_{test}$": []}
    for run in members:
        if run.summary.get("t_train") is None or still_rising(run):
            continue
        bounds = (run.summary["t_train"], plateau_of(run)[1] if run.summary["groks"] else None, run.summary["t_test"])
        for values, bound in zip(found.values(), bounds, strict=True):
            values += [] if bound is None else [bound]
    marked = {}
    for (name, values), dashes in zip(found.items(), (":", "-.", "--"), strict=True):
        if values:
            marked[f"{name} {np.median(values):.0f}"] = dashes
        for axes in panels if values else ():
            axes.axvline(float(np.median(values)), color=NEUTRAL, linestyle=dashes, linewidth=0.9)
    return marked


def draw_dynamics(runs: Sequence[Run], features: Features, ylabel: str) -> Figure:
    """Columns: smallest and largest w0; rows: features, compressibility, accuracy and loss.

    Args:
        runs: Runs of one setting.
        features: Columns of the history by label; at most three.
        ylabel: Of the row of features.
    """
    sides = list(ends(runs).items())
    figure = new_figure(4, len(sides), width=3.5 * len(sides), height=7.6, sharex=True, sharey="row")
    grid = np.array(figure.axes).reshape(4, len(sides))
    for column, (w0, members), color, side in zip(
        grid.T, sides, (LEARNING, GROKKING), ("learning", "grokking"), strict=False
    ):
        _column(list(column), members, features, color)
        for axes, row in zip(column, ("features", "compressibility", "accuracy", "loss"), strict=True):
            axes.set_label(f"{row} {side}")
        column[0].set_title(f"$w_0$ = {w0:g}: {regime(members)} ({counted(len(members))})")
    _legend(figure, grid)
    labels = (ylabel, "compressibility $c$", "accuracy", f"{loss_label(runs)},\ngeometric mean")
    for axes, name in zip(grid[:, 0], labels, strict=True):
        axes.set_ylabel(name)
    return figure


def _legend(figure: Figure, grid: NDArray[np.object_]) -> None:
    """Below all panels: the features, which split is dashed, and what the upright lines are."""
    handles, names = grid[0, 0].get_legend_handles_labels()
    looks = {"train": "--", "test": "-", "$t_{train}$": ":", "plateau ends": "-.", "$t_{test}$": "--"}
    for name, dashes in looks.items():
        handles.append(Line2D([], [], color=NEUTRAL, linestyle=dashes, linewidth=0.9 if "t_" in name else None))  # type: ignore[arg-type]
        names.append(f"{name} (upright)" if "t_" in name or "plateau" in name else name)
    figure.legend(handles, names, loc="outside lower left", ncols=4)


def _column(column: Sequence[Axes], members: Sequence[Run], features: Features, color: str) -> None:
    feature, pruning, accuracy, loss = column
    for (label, name), shade, marker in zip(features.items(), FEATURE_COLORS, FEATURE_MARKERS, strict=False):
        curve(feature, members, name, color=shade, label=label, marker=marker, markersize=2.5)
    _curves(pruning, members, {"compressibility": {"color": color, "marker": ".", "markersize": 3}})
    for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
        wanted = {
            f"{split}_{metric}": {"color": color, "linestyle": dashes, "label": split}
            for split, dashes in (("train", "--"), ("test", "-"))
        }
        _curves(axes, members, wanted)
    marked = mark_times(column, members)
    pruning.set_title(", ".join(marked), fontsize="small")
    loss.set(xlabel="epoch", yscale="log", xscale="log")


def _curves(axes: Axes, members: Sequence[Run], wanted: Mapping[str, Mapping[str, object]]) -> None:
    """Curves, or what is missing."""
    missing = [name for name in wanted if not all(_seen(run, name) for run in members)]
    if missing:
        note(axes, f"no {' and '.join(missing)}")
        return
    for name, line in wanted.items():
        curve(axes, members, name, **line)


def _seen(run: Run, name: str) -> bool:
    try:
        return bool(run.seen(name)[0].size)
    except InputError:
        return False


def headline_features(runs: Sequence[Run], most: int = len(FEATURE_COLORS)) -> Features:
    """What was looked at along the way: the headline columns, as the records declare them, or the first ones.

    Args:
        runs: Runs of one setting.
        most: How many at most.
    """
    apart = ("compressibility", "weight_norm")
    names = [
        name
        for name in history_names(runs[0])
        if name not in apart and not name.startswith("geometry_") and all(_seen(run, name) for run in runs)
    ]
    declared = described(runs[0])
    headlines = [name for name in names if name in declared and declared[name].headline]
    shown = (headlines or names)[:most]
    return {declared[name].heading if name in declared else name: name for name in shown}


def features_of(runs: Sequence[Run]) -> Features:
    """The features that the paper's figure of these runs' task shows, or the headline features of another task.

    Args:
        runs: Runs of one setting.
    """
    task = runs[0].record["config"]["task"]["name"]
    if task == "modular-addition":
        return {"output": "ipr_output", "input, both blocks": "ipr_input", "input, each block": "ipr_input_separate"}
    if task == "ising":
        return {label: f"{last_hidden(runs[0])}_weighted_{name}" for name, label in QUANTITIES.items()}
    return headline_features(runs)


def _draw_any(runs: Sequence[Run]) -> Figure:
    return draw_dynamics(runs, headline_features(runs), "features")


def _draw_modular(runs: Sequence[Run]) -> Figure:
    return draw_dynamics(runs, features_of(runs), "mean IPR (real basis)")


def _draw_ising(runs: Sequence[Run]) -> Figure:
    return draw_dynamics(runs, features_of(runs), "weighted mean |r|\n(last hidden layer)")


_MODULAR = ("ipr_output", "ipr_input", "ipr_input_separate", "compressibility")
_ISING = (*(f"hidden*_weighted_{name}" for name in QUANTITIES), "compressibility")
_SHOWN = "dynamics of features, compressibility, accuracy and loss"

register_figure(
    FigureSpec(
        "dynamics", f"{_SHOWN} of any task, smallest and largest w0", _draw_any, curves=("train_loss", "test_loss")
    )
)
register_figure(
    FigureSpec(
        "fig06",
        f"{_SHOWN} in modular addition, smallest and largest w0",
        _draw_modular,
        "main-text-dynamics",
        curves=_MODULAR,
        scales=2,
        paper={
            "features learning": (Digitised("fig06b"),),
            "features grokking": (Digitised("fig06a"),),
            "compressibility learning": (Digitised("fig06d"),),
            "compressibility grokking": (Digitised("fig06c"),),
        },
    )
)
register_figure(
    FigureSpec(
        "fig07",
        f"{_SHOWN} in the Ising task, smallest and largest w0",
        _draw_ising,
        "ising-ends",
        curves=_ISING,
        scales=2,
        paper={
            # The paper's dashed curves of learning repeat those of grokking: they are no data.
            "features learning": (Digitised("fig07b", ("solid",)),),
            "features grokking": (Digitised("fig07a"),),
            "compressibility learning": (Digitised("fig07d"),),
            "compressibility grokking": (Digitised("fig07c"),),
            "accuracy grokking": (Digitised("fig07e"),),
        },
    )
)

"""c per decade of w0 by batch size: question 4 of ``docs/beyond.md``."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.figures.batch_slopes import RULES, Slope, slopes_by_rule, slopes_by_task
from grokfast.figures.choose import task_of
from grokfast.figures.grouping import having, values_by
from grokfast.figures.spec import WHOLE, FigureSpec, register_figure
from grokfast.figures.style import FEATURE_COLORS, FEATURE_MARKERS, NEUTRAL, headline, new_figure
from grokfast.runs import Run

_OWN = "modular-addition"


def _draw(runs: Sequence[Run]) -> Figure:
    decays = values_by(having(runs, task=_OWN), "weight_decay")
    others = slopes_by_task([run for run in runs if task_of(run) != _OWN])
    panels = len(decays) + len(others)
    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = new_figure(rows, columns, width=max(3.6 * columns, 4.6), height=2.8 * rows)
    for axes in figure.axes[panels:]:
        axes.remove()
    for axes, (decay, mine) in zip(figure.axes, decays.items(), strict=False):
        for k, (rule, slopes) in enumerate(slopes_by_rule(mine).items()):
            _bars(axes, slopes, k, RULES[rule])
        _ticks(axes, list(values_by(mine, "batch_size")))
        axes.set_title(f"{_OWN}, weight decay {decay:g}")
        axes.legend()
    for axes, (task, slopes) in zip(figure.axes[len(decays) :], others.items(), strict=True):
        _bars(axes, slopes, 1, "")
        _ticks(axes, [slope.batch for slope in slopes])
        axes.set_title(task)
    for axes in figure.axes:
        axes.axhline(0, color=NEUTRAL, linewidth=0.6)
        axes.set_xlabel("batch size $B$")
    figure.axes[0].set_ylabel("$c$ per decade of $w_0$")
    headline(figure, "Below 0: a compressive regime (95 % intervals)")
    return figure


def _ticks(axes: Axes, batches: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()


def _bars(axes: Axes, slopes: Sequence[Slope], k: int, label: str) -> None:
    """Slopes with their intervals, in the look of the k-th of three, which stand beside each other."""
    known = [(slope.batch * 1.04 ** (k - 1), slope.estimate) for slope in slopes if slope.estimate is not None]
    if known:
        ends = [(one.mean - one.low, one.high - one.mean) for _, one in known]
        places, means = [place for place, _ in known], [one.mean for _, one in known]
        bars = list(zip(*ends, strict=True))
        (line, *_) = axes.errorbar(places, means, bars, capsize=2, linewidth=1, color=FEATURE_COLORS[k], label=label)
        line.set(marker=FEATURE_MARKERS[k], markersize=4)


register_figure(
    FigureSpec(
        "beyond_borders",
        "c per decade of w0 by batch size, learning rate fixed and growing with it, and of other tasks",
        _draw,
        ("beyond-batch", "beyond-batch-tasks"),
        columns=("compressibility", "end_test_accuracy"),
        apart=WHOLE,
    )
)

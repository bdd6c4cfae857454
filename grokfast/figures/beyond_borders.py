"""c per decade of w0 by batch size: question 4 of ``docs/beyond.md``."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.batch_slopes import RULES, slopes_by_rule
from grokfast.figures.grouping import values_by
from grokfast.figures.spec import WHOLE, FigureSpec, register_figure
from grokfast.figures.style import FEATURE_COLORS, FEATURE_MARKERS, NEUTRAL, headline, new_figure
from grokfast.runs import Run


def _draw(runs: Sequence[Run]) -> Figure:
    decays = values_by(runs, "weight_decay")
    figure = new_figure(1, len(decays), width=max(3.6 * len(decays), 4.6), height=3.0, sharey=True)
    for axes, (decay, mine) in zip(figure.axes, decays.items(), strict=True):
        for k, (rule, slopes) in enumerate(slopes_by_rule(mine).items()):
            known = [slope for slope in slopes if slope.estimate is not None]
            means = [slope.estimate.mean for slope in known if slope.estimate]
            ends = [
                (slope.estimate.mean - slope.estimate.low, slope.estimate.high - slope.estimate.mean)
                for slope in known
                if slope.estimate
            ]
            places = [slope.batch * 1.04 ** (k - 1) for slope in known]
            if known:
                look = {"color": FEATURE_COLORS[k], "marker": FEATURE_MARKERS[k], "markersize": 4, "linewidth": 1}
                axes.errorbar(places, means, list(zip(*ends, strict=True)), capsize=2, label=RULES[rule], **look)
        axes.axhline(0, color=NEUTRAL, linewidth=0.6)
        axes.set(xscale="log", xlabel="batch size $B$", title=f"weight decay {decay:g}")
    figure.axes[0].set_ylabel("$c$ per decade of $w_0$")
    figure.axes[0].legend()
    headline(figure, "The compressive regime over batch size (below 0: there is one), 95 % intervals")
    return figure


register_figure(
    FigureSpec(
        "beyond_borders",
        "c per decade of w0 by batch size, learning rate fixed and growing with it",
        _draw,
        "beyond-batch",
        columns=("compressibility", "end_test_accuracy"),
        apart=WHOLE,
    )
)

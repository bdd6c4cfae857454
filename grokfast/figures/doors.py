"""What the methods ``plot`` of runs, tables, Fisher diagonals, pruning curves and learning coefficients draw."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokfast.errors import InputError, MissingRunsError
from grokfast.figures.listing import draw, suggested
from grokfast.figures.style import GROKKING, LEARNING, NEUTRAL, new_figure, style
from grokfast.figures.ticks import tidy_ticks
from grokfast.fisher import FisherDiagonal
from grokfast.learning_coefficient import LLC
from grokfast.pruning import PruningCurve
from grokfast.runs import RunTable

_LABELLED = 8  # parameters in a legend


def plot_runs(table: RunTable, figure: str = "", where: str = "") -> Figure:
    """One figure of a table of runs.

    Args:
        table: The runs.
        figure: Its name; that of the figure to look at first if empty.
        where: A further SQL condition.

    Raises:
        InputError: If there is no such figure, or several settings could be shown.
        MissingRunsError: If there are no runs, or they lack what the figure shows.
    """
    if not table.rows:
        raise MissingRunsError(f"there are no runs in this table of {table.store.named} to draw")
    return draw(figure or suggested(table), table, where or None)


def plot_fisher(fisher: FisherDiagonal) -> Figure:
    """Entries by size on logarithmic axes: of the whole diagonal, and of each parameter while they are few.

    Raises:
        InputError: If the diagonal has no entries.
    """
    if not fisher:
        raise InputError("a Fisher diagonal without entries cannot be drawn")
    with style():
        drawn = new_figure(1, 1, width=5.6, height=4.0)
        (axes,) = drawn.axes
        few = len(fisher) <= _LABELLED
        for name, value in fisher.items() if few else ():
            _spectrum(axes, value[0] if fisher.stacked else value, label=name)
        whole = fisher.flat()
        _spectrum(axes, whole[0] if fisher.stacked else whole, color=NEUTRAL, linewidth=2, label="all")
        per = "summed over samples" if fisher.reduction == "sum" else "per sample"
        axes.set(xlabel="rank", ylabel=f"Fisher diagonal, {per}", xscale="log", yscale="log")
        axes.set_title(f"{fisher.kind}, {fisher.likelihood}, {fisher.n} samples")
        axes.legend()
        tidy_ticks(drawn)
    return drawn


def _spectrum(axes: Axes, values: torch.Tensor, **line: object) -> None:
    ordered = values.detach().flatten().double().cpu().sort(descending=True).values.numpy()
    ordered = ordered[ordered > 0]  # zeros have no place on a logarithmic axis
    picks = np.unique(np.geomspace(1, max(ordered.size, 1), 1200).astype(int)) - 1
    picks = picks[picks < ordered.size]
    axes.plot(picks + 1, ordered[picks], **line)  # type: ignore[arg-type]


def plot_pruning_curve(curve: PruningCurve) -> Figure:
    """Accuracy against the share of parameters removed, one line a member."""
    with style():
        drawn = new_figure(1, 1, width=5.6, height=4.0)
        (axes,) = drawn.axes
        curves = curve.accuracy.reshape(-1, len(curve.fractions))
        ratios = curve.compressibility.reshape(-1)
        for index, (values, c) in enumerate(zip(curves, ratios, strict=True)):
            label = f"$c$ = {float(c):.2f}" if len(curves) <= _LABELLED else None
            color = LEARNING if len(curves) == 1 else f"C{index % 10}"
            axes.plot(curve.fractions, values, color=color, label=label)
        axes.set(xlabel="share of parameters removed", ylabel="accuracy", xlim=(0, 1), ylim=(-0.02, 1.04))
        axes.set_title("Pruning curve")
        if len(curves) <= _LABELLED:
            axes.legend()
    return drawn


def plot_llc(found: LLC) -> Figure:
    """The trace of each chain of a local learning coefficient, the estimate and two standard errors around it."""
    with style():
        drawn = new_figure(1, 1, width=5.6, height=4.0)
        (axes,) = drawn.axes
        chains, steps = found.trace.shape
        for k, trace in enumerate(found.trace):
            label = f"chain {k}" if chains <= _LABELLED else None
            axes.plot(np.arange(1, steps + 1), trace, color=f"C{k % 10}", linewidth=0.8, label=label)
        low, high = (found.value + sign * 2 * found.standard_error for sign in (-1, 1))
        axes.axhspan(low, high, color=GROKKING, alpha=0.25, linewidth=0)
        axes.axhline(found.value, color=GROKKING, label=rf"$\hat\lambda$ = {found.value:.4g}")
        if found.below:  # samples better than w*
            axes.axhline(0, color=NEUTRAL, linewidth=0.8)
        axes.set(xlabel="step after the warm-up", ylabel=r"$n\beta\,(L_n(w_t) - L_n(w^*))$", xlim=(1, max(2, steps)))
        rho = "" if found.rho is None else rf", $\rho$ = {found.rho:g}"
        axes.set_title(f"{found.status}{rho}, R-hat {found.r_hat:.3f}, {found.effective_samples:.0f} effective samples")
        axes.legend()
    return drawn

"""The plots of these pages, from stored runs: ``python docs/measures/plots.py --runs runs runs-geometry``.

Where the package has a figure that shows a measure, it is that figure at the width of the pages.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from grokfast import load
from grokfast.endmodel import end_measures
from grokfast.errors import MissingRunsError
from grokfast.figures import FIGURES, by_scale, choose, title_of
from grokfast.figures import draw as draw_figure
from grokfast.figures.choose import groups_of, regime
from grokfast.figures.geometry import by_task, column, draw_curves, look_of, mark_learning, sides, zero_line
from grokfast.figures.style import FEATURE_COLORS, GROKKING, LEARNING, NEUTRAL, new_figure, scale_colors, style
from grokfast.measures import gini, layer_norms
from grokfast.models import stack_members
from grokfast.pruning import compressibility, compressibility_bounds
from grokfast.runs import Run, RunTable
from grokfast.studies import find_study

Tables = Sequence[RunTable]
WIDTH = 1000  # pixels


def main() -> None:
    """Draw all plots, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PLOTS)}; all by default")
    parser.add_argument("--runs", nargs="+", type=Path, default=[Path("runs")], help="folders of runs")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    given = parser.parse_args()
    unknown = set(given.names) - set(PLOTS)
    if unknown:
        parser.error(f"there is no plot {sorted(unknown)}; there are {sorted(PLOTS)}")
    tables = [load(folder) for folder in given.runs]
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names or PLOTS:
        with style():
            figure = PLOTS[name](tables)
            print(_save(figure, given.out / f"measure_{name}.png"))


def whole_metric(tables: Tables) -> Figure:
    """Length of steps and origin similarity by the diagonal and the whole matrix, on 16 samples and on all."""
    needed = ("geometry_softmax_all_full_length",)
    tasks = by_task([run for task in ("ising", "modular-addition") for run in _most(tables, "geometry", task, needed)])
    figure = new_figure(2, len(tasks), width=4.2 * len(tasks), height=5.6)
    looks = {
        "softmax-16": (LEARNING, ":"),
        "softmax-all": (LEARNING, "-"),
        "softmax-16-full": (GROKKING, ":"),
        "softmax-all-full": (GROKKING, "-"),
    }
    for k, runs in enumerate(tasks.values()):
        side = sides(runs)[-1]
        first = replace(side, runs=side.runs[:1])
        length, origin = figure.axes[k], figure.axes[len(tasks) + k]
        for metric, (color, dash) in looks.items():
            words = metric.removeprefix("softmax-").replace("-full", " samples, whole matrix")
            label = words if "matrix" in words else f"{words} samples, diagonal"
            draw_curves(length, first, column(metric, "length"), label, color=color, linestyle=dash, linewidth=1.1)
            draw_curves(origin, first, column(metric, "origin"), color=color, linestyle=dash, linewidth=1.1)
        for axes in (length, origin):
            mark_learning(axes, first)
            axes.set_xlabel("epoch")
        if look_of(runs[0]).schedules[0].startswith("log"):
            length.set_xscale("log")
            origin.set_xscale("log")
        zero_line(origin)
        length.set(yscale="log", title=f"{title_of(runs)}, {side.label}, seed {side.runs[0].config.seed}")
        origin.set(ylim=(-1.05, 1.05))
    figure.axes[0].set_ylabel("step length $|s|$")
    figure.axes[len(tasks)].set_ylabel("cosine with the way to the origin")
    figure.axes[len(tasks) - 1].legend(fontsize=7)
    figure.suptitle("Softmax Fisher (dotted upright: $t_{test}$)")
    return figure


def compressibility_plot(tables: Tables) -> Figure:
    """Pruning curves by w0, and c with what the grid leaves open."""
    groups = by_scale(_most(tables, "main-text"))
    colors = scale_colors(list(groups))
    figure = new_figure(1, 2, width=8.4, height=3.4)
    curves, values = figure.axes
    for place, (w0, runs) in enumerate(groups.items()):
        fractions = torch.from_numpy(runs[0].arrays["pruning_fractions"]).double()
        accuracy = torch.stack([torch.from_numpy(run.arrays["pruning_accuracy"]).double() for run in runs])
        curves.plot(fractions, accuracy.mean(0), color=colors[w0], label=f"{w0:g}")
        c, (low, high) = compressibility(fractions, accuracy), compressibility_bounds(fractions, accuracy)
        at = place + np.linspace(-0.25, 0.25, len(runs))
        bars = torch.stack([c - low, high - c])
        values.errorbar(at, c, yerr=bars, color=colors[w0], fmt="o", markersize=3, capsize=2)
    curves.set(xlabel="share of weights pruned, each layer by itself", ylabel="test accuracy")
    curves.legend(title="$w_0$")
    curves.set_title(f"Modular addition, mean over {len(runs)} seeds")
    values.set(xlabel="$w_0$", ylabel="compressibility $c$", title="a point a run; bars: bounds by the grid")
    values.set_xticks(range(len(groups)), [f"{w0:g}" for w0 in groups])
    return figure


def gini_plot(tables: Tables) -> Figure:
    """Lorenz curves of one run, and the coefficients by w0."""
    tasks = _both_tasks(tables)
    figure = new_figure(1, 1 + len(tasks), width=3.2 * (1 + len(tasks)), height=3.3)
    lorenz = figure.axes[0]
    for runs, color in zip(tasks.values(), (GROKKING, LEARNING), strict=False):
        run = by_scale(runs)[max(by_scale(runs))][0]
        weights = [tensor.flatten() for name, tensor in run.checkpoint().items() if name.endswith("weight")]
        flat = torch.cat(weights).abs().double()
        ranked = flat.sort().values.cumsum(0)
        share = np.linspace(0, 1, 400)
        held = np.interp(share, np.linspace(0, 1, len(ranked) + 1), np.append(0, ranked / ranked[-1]))
        lorenz.plot(share, held, color=color, label=f"{title_of(runs)}: $G$ = {float(gini(flat)):.2f}")
    lorenz.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.8, linestyle="--")
    lorenz.set(xlabel="share of the weights, smallest first", ylabel="their share of the sum of |w|")
    lorenz.legend()
    lorenz.set_title("Lorenz curves, $w_0$ = 10, one run")
    names = {"gini_weights": "|w|", "gini_fisher": "softmax Fisher", "gini_fisher_logit": "logit Fisher"}
    for axes, (task, runs) in zip(figure.axes[1:], tasks.items(), strict=True):
        for (name, label), color in zip(names.items(), FEATURE_COLORS, strict=True):
            _by_w0(axes, runs, _end(name), label, color)
        axes.set(xscale="log", xlabel="$w_0$", title=title_of(runs), ylim=(0.35, 1))
        axes.legend(loc="lower left" if task == "ising" else "upper right")
    figure.axes[1].set_ylabel("Gini coefficient")
    return figure


def norms(tables: Tables) -> Figure:
    """Norms of the weights of every layer, at initialisation and at the end, by w0."""
    tasks = _both_tasks(tables)
    figure = new_figure(1, len(tasks), width=4.2 * len(tasks), height=3.5)
    for axes, runs in zip(figure.axes, tasks.values(), strict=True):
        names = [name for name in layer_norms(stack_members([runs[0].checkpoint()])) if name.endswith("weight")]
        for k, name in enumerate(names):
            color = (*FEATURE_COLORS, LEARNING)[k]
            shape = "×".join(map(str, runs[0].checkpoint()[name].shape))
            _by_w0(axes, runs, _norm(Run.checkpoint, name), f"layer {k + 1} ({shape})", color)
            _by_w0(axes, runs, _norm(_initial, name), None, color, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="$w_0$", title=title_of(runs))
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("norm of the weights")
    figure.suptitle("Norms by layer; dotted: at initialisation, solid: end model")
    return figure


def sign_losses_plot(tables: Tables) -> Figure:
    """Losses of f(x), f(-x), the even and the odd part, and the odd share, by w0."""
    runs = _most(tables, "ising")
    figure = new_figure(1, 2, width=8.4, height=3.3)
    losses, share = figure.axes
    for k, name in enumerate(("plus", "minus", "even", "odd")):
        label = {"plus": "$f(x)$", "minus": "$f(-x)$", "even": "even part", "odd": "odd part"}[name]
        shift = 1 + 0.03 * (k - 1.5)
        color = (*FEATURE_COLORS, NEUTRAL)[k]
        _by_w0(losses, runs, _end(f"loss_{name}"), label, color, shift=shift)
    losses.axhline(np.log(2), color=NEUTRAL, linestyle="--", linewidth=0.8)
    losses.annotate("ln 2", (1, np.log(2)), xytext=(0, -10), textcoords="offset points", fontsize=8)
    losses.set(xscale="log", xlabel="$w_0$", ylabel="test loss [nats]", ylim=(0, 0.85))
    losses.legend(loc="center right")
    _by_w0(share, runs, _end("odd_share"), None, LEARNING)
    share.set(xscale="log", yscale="log", xlabel="$w_0$", ylabel="odd share of the logits' power")
    figure.suptitle(f"Ising, end models, {len(runs)} runs: a point a run, lines through the means")
    return figure


def grokking_times_plot(tables: Tables) -> Figure:
    """Accuracies of a steady learner and of a grokker with t_train and t_test, and the times by w0."""
    tasks = _both_tasks(tables)
    figure = new_figure(2, len(tasks), width=4.2 * len(tasks), height=5.6)
    for k, runs in enumerate(tasks.values()):
        groups = by_scale(runs)
        top, bottom = figure.axes[k], figure.axes[len(tasks) + k]
        for w0, color in ((min(groups), LEARNING), (max(groups), GROKKING)):
            run = groups[w0][0]
            for name, dash in (("train_accuracy", "--"), ("test_accuracy", "-")):
                top.plot(*run.seen(name), dash, color=color, linewidth=1)
                t = run.summary[f"t_{name.split('_')[0]}"]
                top.axvline(t, color=color, linestyle=dash, linewidth=0.7)
            top.plot([], color=color, label=f"$w_0$ = {w0:g} ({regime([run])})")
        top.set(xscale="log", xlabel="epoch", title=f"{title_of(runs)}, seed {run.config.seed}")
        top.legend(loc="lower right")
        for name, color in (("t_train", LEARNING), ("t_test", GROKKING)):
            _by_w0(bottom, runs, _summary(name), f"${name[0]}_{{{name[2:]}}}$", color)
        bottom.set(xscale="log", yscale="log", xlabel="$w_0$")
        bottom.legend(loc="upper left")
    figure.axes[0].set_ylabel("accuracy (dashed: train)")
    figure.axes[len(tasks)].set_ylabel("epoch (a point a run)")
    return figure


def of_figure(name: str, where: str | None = None) -> Callable[[Tables], Figure]:
    """A figure of the package, from the folder that has most of its runs."""

    def plot(tables: Tables) -> Figure:
        found = []
        for table in tables:
            try:
                found.append((len(choose(FIGURES[name], table, where).runs), table))
            except MissingRunsError:
                continue
        if not found:
            raise MissingRunsError(f"no folder has the runs of {name}, of the studies {FIGURES[name].studies}")
        figure = draw_figure(name, max(found, key=lambda pair: pair[0])[1], where)
        figure.suptitle(figure.get_suptitle().replace("): ", ")\n"))
        for axes in figure.axes:
            if axes.get_xscale() == "linear" and axes.get_xlim()[1] > 9999:
                axes.locator_params(axis="x", nbins=4)
        return figure

    return plot


PLOTS: dict[str, Callable[[Tables], Figure]] = {
    "step_length": of_figure("fig31"),
    "cosine": of_figure("fig08", "task = 'modular-addition'"),
    "origin": of_figure("fig08", "task = 'ising'"),
    "stiff_sloppy": of_figure("fig32", "task = 'ising'"),
    "bump": of_figure("fig33", "task = 'modular-addition'"),
    "spectrum": of_figure("fig20", "task = 'modular-addition'"),
    "whole_metric": whole_metric,
    "compressibility": compressibility_plot,
    "schemes": of_figure("fig25"),
    "gini": gini_plot,
    "norms": norms,
    "sign_losses": sign_losses_plot,
    "grokking_times": grokking_times_plot,
    "correlations": of_figure("fig13"),
}


def _most(tables: Tables, study: str, task: str | None = None, curves: Sequence[str] = ()) -> list[Run]:
    """The runs of a study's setting from the folder that has most of them."""
    wanted = {setting for setting in find_study(study).settings if task in (None, setting.fields["task.name"])}
    groups = [group for table in tables for group in groups_of(table, curves=curves)]
    found = [group.runs for group in groups if group.setting.of_any_length in wanted]
    if not any(found):
        raise MissingRunsError(f"no folder has runs of {study}; make them with {find_study(study).command}")
    return max(found, key=len)


def _both_tasks(tables: Tables) -> dict[str, list[Run]]:
    return {
        "ising": _most(tables, "ising"),
        "modular-addition": _most(tables, "main-text"),
    }


def _by_w0(
    axes: Axes,
    runs: Sequence[Run],
    value: Callable[[Run], float],
    label: str | None,
    color: str,
    *,
    shift: float = 1.0,
    linestyle: str = "-",
) -> Line2D:
    """A point a run, and a line through the means."""
    groups = {w0: [value(run) for run in mine] for w0, mine in by_scale(runs).items()}
    for w0, values in groups.items():
        axes.plot([w0 * shift] * len(values), values, ".", color=color, markersize=3, alpha=0.6)
    means = [float(np.mean(values)) for values in groups.values()]
    (line,) = axes.plot([w0 * shift for w0 in groups], means, color=color, label=label, linestyle=linestyle)
    return line


def _initial(run: Run) -> dict[str, torch.Tensor]:
    return dict(run.config.task.initial(run.config.seed, run.config.w0, run.config.precision.dtype))


def _norm(params: Callable[[Run], dict[str, torch.Tensor]], name: str) -> Callable[[Run], float]:
    return lambda run: float(layer_norms(stack_members([{name: params(run)[name]}]))[name])


def _end(name: str) -> Callable[[Run], float]:
    return lambda run: end_measures(run)[name]


def _summary(name: str) -> Callable[[Run], float]:
    return lambda run: float(run.summary[name])


def _save(figure: Figure, file: Path) -> Path:
    """A PNG of the pages' width, in few colours."""
    raw = io.BytesIO()
    with mpl.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(raw, format="png", dpi=WIDTH / figure.get_figwidth())
    Image.open(raw).convert("RGB").quantize(160).save(file, optimize=True)
    return file


if __name__ == "__main__":
    main()

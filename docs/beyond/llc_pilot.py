"""The pilot of question 3: short chains at rho = 0.03 and 0.1 on a folder of runs, its rule, and its plot.

``python docs/beyond/llc_pilot.py RUNS "weight_decay > 1e-4"`` writes ``3-llc.csv`` beside this file and the image.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import torch
from torch.nn import functional

from grokfast import load
from grokfast.endmodel import measure_run, snapshot_of
from grokfast.figures import new_figure
from grokfast.figures.style import scale_colors, style
from grokfast.learning_coefficient import Mala, Settings, StackedDensity, curvature_of, estimate_curve
from grokfast.measures import rank_correlation
from grokfast.report.beyond.llc import answer

HERE = Path(__file__).resolve().parent
RHOS = (0.03, 0.1)
OTHERS = ("compressibility", "quantisation_bits", "svd_rank")


def measured(folder: str, where: str) -> list[dict[str, float | str]]:
    """A row a run."""
    rows = []
    for run in load(folder).where(where):
        seen = snapshot_of(run)
        split = seen.splits[0]
        density = StackedDensity(seen.task, seen.params, split.train_inputs[None], split.train_labels[None])
        inputs = seen.task.encode(split.train_inputs, torch.float32)
        curvature = curvature_of(seen.model(0), functional.cross_entropy, inputs, density)
        settings = Settings(weight_decay=run.config.weight_decay, polish=False)
        how = Mala(steps=16, warmup=5, most=48)
        row: dict[str, float | str] = {"w0": run.config.w0, "seed": run.config.seed}
        row |= {name: run.summary[name] for name in ("compressibility", "end_train_loss")}
        for name in OTHERS[1:]:
            row |= measure_run(run, name)
        for found in estimate_curve(density, curvature, rhos=RHOS, sampling=how, settings=settings)[0]:
            row |= {f"llc_{found.rho}": found.value, f"error_{found.rho}": found.standard_error}
            row |= {f"status_{found.rho}": str(found.status)}
        rows.append(row)
    return rows


def main() -> None:
    """Measure, or read what was measured, decide and draw."""
    file = HERE / "3-llc.csv"
    if len(sys.argv) > 2:
        rows = measured(sys.argv[1], sys.argv[2])
        with file.open("w", newline="") as out:
            table = csv.DictWriter(out, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    with file.open() as source:
        kept = list(csv.DictReader(source))
    found = {}
    for rho in RHOS:
        sound = [row for row in kept if row[f"status_{rho}"] == "ok"]
        column = {name: [float(row[name]) for row in sound] for name in (*OTHERS, "end_train_loss", f"llc_{rho}")}
        found[rho] = {name: rank_correlation(column[f"llc_{rho}"], column[name]) for name in OTHERS}
        for name in OTHERS:
            held = rank_correlation(column[f"llc_{rho}"], column[name], column["end_train_loss"])
            print(f"rho {rho}, {len(sound)} runs, {name}: {found[rho][name]:.2f}; train loss held fixed {held:.2f}")
    print(answer(found))
    with style():
        colors = scale_colors(sorted({float(row["w0"]) for row in kept}))
        figure = new_figure(1, 4, width=11, height=2.8)
        panels = [(rho, "compressibility", "compressibility $c$") for rho in RHOS]
        panels += [(0.1, "quantisation_bits", "bits at a 5 % loss"), (0.1, "svd_rank", "rank at a 5 % loss")]
        for axes, (rho, name, label) in zip(figure.axes, panels, strict=True):
            for row in kept:
                y, error = float(row[f"llc_{rho}"]), float(row[f"error_{rho}"])
                axes.errorbar(float(row[name]), y, error, color=colors[float(row["w0"])], fmt="o", markersize=4)
            axes.set(xlabel=label, title=rf"$\rho$ = {rho:g}", ylabel="local learning coefficient")
        for w0, color in colors.items():
            figure.axes[-1].plot([], [], "o", color=color, label=f"{w0:g}", markersize=4)
        figure.axes[-1].legend(title="$w_0$", fontsize=6)
        figure.savefig(HERE.parent / "images" / "beyond_llc.png", dpi=110)


if __name__ == "__main__":
    main()

"""Question 3 on the main text: its rows, its rank correlations and its plot.

``python docs/beyond/llc_main.py RUNS`` reads what ``grokfast measure --llc --runs RUNS`` has kept of the runs there and
writes ``3-llc-main.csv`` beside this file; without arguments the rows come from there. Both draw the image.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from grokfast import load
from grokfast.errors import InputError
from grokfast.figures import new_figure
from grokfast.figures.kept import measured
from grokfast.figures.style import scale_colors, style
from grokfast.learning_coefficient import Status
from grokfast.measures import rank_correlation
from grokfast.report.beyond.llc import COEFFICIENTS, answer
from grokfast.report.coefficients import status_of

HERE = Path(__file__).resolve().parent
FILE = HERE / "3-llc-main.csv"
OTHERS = ("compressibility", "quantisation_bits", "svd_rank")
COLUMNS = (*COEFFICIENTS, "llc_paper")


def rows_of(folder: str) -> list[dict[str, str]]:
    """A row a run with a coefficient, by seed and w0."""
    names = ["end_train_loss", *OTHERS]
    for column in COLUMNS:
        names += [column, _error(column), status_of(column)]
    rows = []
    for run in load(folder).where("status = 'finished'"):
        found = measured(run)
        if "llc" in found:
            row = {"w0": run.config.w0, "seed": run.config.seed, **{name: found.get(name, np.nan) for name in names}}
            rows.append({name: f"{value:.6g}" for name, value in row.items()})
    return sorted(rows, key=lambda row: (int(row["seed"]), float(row["w0"])))


def _error(column: str) -> str:
    return status_of(column).replace("status", "error")


def main() -> None:
    """Read, decide and draw."""
    if len(sys.argv) > 1:
        rows = rows_of(sys.argv[1])
        with FILE.open("w", newline="") as out:
            table = csv.DictWriter(out, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    with FILE.open() as source:
        rows = list(csv.DictReader(source))
    column = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    found = {}
    for name, rho in COEFFICIENTS.items():
        sound = (column[status_of(name)] == Status.OK.number) & np.isfinite(column[name])
        print(f"rho {rho:g}: {int(np.isfinite(column[name]).sum())} measured, {int(sound.sum())} ok")
        for part, chosen in (("all", sound), ("w0 >= 0.7", sound & (column["w0"] >= 0.7))):
            for other in OTHERS:
                x, y, loss = (column[key][chosen] for key in (name, other, "end_train_loss"))
                try:
                    one, held = rank_correlation(x, y), rank_correlation(x, y, loss)
                except InputError as error:
                    print(f"  {part}, {other}: {error}")
                    continue
                print(f"  {part}, {other}: {one:.2f}; train loss held fixed {held:.2f}")
                if part == "all" and len(x) >= 8:
                    found.setdefault(rho, {})[other] = one
    print(answer({rho: one for rho, one in found.items() if OTHERS[0] in one}))
    with style():
        colors = scale_colors(sorted(set(column["w0"])))
        figure = new_figure(1, 3, width=9.5, height=2.9)
        for axes, (name, rho) in zip(figure.axes, COEFFICIENTS.items(), strict=True):
            for k, w0 in enumerate(column["w0"]):
                error = column[_error(name)][k]
                y = column[name][k]
                axes.errorbar(column["compressibility"][k], y, error, color=colors[w0], fmt="o", markersize=4)
            axes.set(xlabel="compressibility $c$", title=rf"$\rho$ = {rho:g}", ylabel="local learning coefficient")
        for w0, color in colors.items():
            figure.axes[-1].plot([], [], "o", color=color, label=f"{w0:g}", markersize=4)
        figure.axes[-1].legend(title="$w_0$", fontsize=6)
        figure.savefig(HERE.parent / "images" / "beyond_llc_main.png", dpi=110)


if __name__ == "__main__":
    main()

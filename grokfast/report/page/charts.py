"""Interactive twins of figures as Vega-Lite specifications: a line or a point a run, to be hovered and isolated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from grokfast.errors import InputError
from grokfast.figures import FigureSpec, ends, scale_colors, scale_of, seed_of, values_of
from grokfast.figures.by_seed import AS_TIMES
from grokfast.figures.by_seed import NEEDED as BY_SEED
from grokfast.figures.dynamics import features_of
from grokfast.figures.kept import still_rising
from grokfast.figures.overlay import PAPER, PAPER_COLOR, Overlays
from grokfast.figures.scatter import panels_of
from grokfast.report.page.describe import plain
from grokfast.runs import Run

Chart = dict[str, Any]

POINTS = 60
"""Points of a curve, at most: evenly on a logarithmic axis."""

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, never fetched
_ALL = "all"
_CHOSEN = f"(w0_ == '{_ALL}' || datum.w0 == w0_) && (seed_ == '{_ALL}' || datum.seed == seed_)"
_FIRST, _MAIN = "end_train_loss", "main"  # the loss shown first, and the label of the panel of figure 5c that has it
_CURVES = (("train_accuracy", "train"), ("test_accuracy", "test"), ("train_loss", "train"), ("test_loss", "test"))


def chart_of(spec: FigureSpec, runs: Sequence[Run]) -> Chart | None:
    """The interactive twin of a figure; None where it has none.

    Args:
        spec: The figure.
        runs: Those that it shows.
    """
    kind = getattr(spec.draw, "__module__", "").rpartition(".")[2]
    make = _KINDS.get(kind)
    return None if make is None else make(spec, runs)


def _training(spec: FigureSpec, runs: Sequence[Run]) -> Chart:
    rows = list(_curve_rows(runs, {name: (name.partition("_")[2], label) for name, label in _CURVES}))
    return _lines(runs, rows, ["accuracy", "loss"], {})


def _dynamics(spec: FigureSpec, runs: Sequence[Run]) -> Chart:
    """Panels as the figure's rows; the two regimes share them, told apart by colour."""
    shown = [run for members in ends(runs).values() for run in members]
    columns = {name: ("features", plain(label)) for label, name in features_of(shown).items()}
    columns |= {"compressibility": ("compressibility", "compressibility")}
    columns |= {name: (name.partition("_")[2], label) for name, label in _CURVES}
    rows = list(_curve_rows(shown, columns))
    return _lines(shown, rows, ["features", "compressibility", "accuracy", "loss"], spec.paper)


def _points(spec: FigureSpec, runs: Sequence[Run]) -> Chart:
    """Compressibility against a quantity that the reader chooses."""
    panels = {name: plain(label) for name, label in panels_of(runs).items()}
    names = {name: label for name, label in panels.items() if np.isfinite(values_of(runs, name)).any()}
    return _scatter(runs, {**names, "compressibility": "compressibility c"}, x=_FIRST, y="compressibility", spec=spec)


def _by_seed(spec: FigureSpec, runs: Sequence[Run]) -> Chart:
    """A quantity that the reader chooses against w0; learning times of runs that still rise are no part of it."""
    only = ", settled runs only" if any(map(still_rising, runs)) else ""
    labels = {name: name.replace("_", " ") + (only if name in AS_TIMES else "") for name in BY_SEED}
    return _scatter(runs, labels, x="w0", y="t_grok", spec=spec)


_KINDS: Mapping[str, Callable[[FigureSpec, Sequence[Run]], Chart]] = {
    "training_curves": _training,
    "dynamics": _dynamics,
    "scatter": _points,
    "losses": _points,
    "by_seed": _by_seed,
}


def _curve_rows(runs: Sequence[Run], columns: Mapping[str, tuple[str, str]]) -> Iterator[tuple[object, ...]]:
    """Rows of run, w0, seed, panel, curve, epoch and value."""
    for run in runs:
        for name, (panel, curve) in columns.items():
            try:
                epochs, values = run.seen(name)
            except InputError:
                continue
            for epoch, value in zip(*_thinned(epochs, values), strict=True):
                yield (*_who(run), panel, curve, int(epoch), f"{value:.4g}")


def _who(run: Run) -> tuple[str, str, int]:
    return run.key[:8], f"{scale_of(run):g}", seed_of(run)


def _thinned(epochs: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if epochs.size <= POINTS:
        return epochs, values
    wanted = np.geomspace(epochs[0], epochs[-1], POINTS)
    chosen = np.unique(np.searchsorted(epochs, wanted - 1e-9).clip(max=epochs.size - 1))
    return epochs[chosen], values[chosen]


def _csv(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> Chart:
    text = "\n".join([",".join(heading), *(",".join(map(str, row)) for row in rows)])
    return {"values": text, "format": {"type": "csv", "parse": {"w0": "string", "seed": "string", "run": "string"}}}


def _selectors(runs: Sequence[Run]) -> list[Chart]:
    """Fields by which the keyboard isolates a scale and a seed."""
    scales = list(dict.fromkeys(f"{scale_of(run):g}" for run in runs))
    seeds = [str(seed) for seed in sorted({seed_of(run) for run in runs})]
    return [
        {
            "name": f"{name}_",
            "value": _ALL,
            "bind": {"input": "select", "options": [_ALL, *options], "name": f"{name} "},
        }
        for name, options in (("w0", scales), ("seed", seeds))
    ]


def _selections(views: Sequence[str]) -> list[Chart]:
    """A click on a run isolates it, one on the legend its scale; a double click shows all again."""
    return [
        {"name": "picked", "select": {"type": "point", "fields": ["run"], "clear": "dblclick"}, "views": list(views)},
        {"name": "scale", "select": {"type": "point", "fields": ["w0"]}, "bind": "legend", "views": [views[0]]},
    ]


def _opacity(shown: float) -> Chart:
    test = {"and": [{"param": "picked"}, {"param": "scale"}, _CHOSEN]}
    return {"condition": {"test": test, "value": shown}, "value": 0.04}


def _color(runs: Sequence[Run]) -> Chart:
    found = sorted({scale_of(run) for run in runs})
    scales = [f"{w0:g}" for w0 in found]
    return {
        "field": "w0",
        "type": "nominal",
        "scale": {"domain": scales, "range": [to_hex(color) for color in scale_colors(found).values()]},
        "legend": {"orient": "bottom", "title": "w0", "columns": "@columns"},
    }


def _frame(runs: Sequence[Run], content: Chart) -> Chart:
    config = {
        "view": {"stroke": None},
        "axis": {"gridOpacity": 0.4},
        "legend": {"layout": {"bottom": {"direction": "vertical", "anchor": "start"}}},
        "font": "sans-serif",
        "background": None,
    }
    return {"$schema": _SCHEMA, "config": config, **content}


def _lines(runs: Sequence[Run], rows: Sequence[Sequence[object]], panels: Sequence[str], overlays: Overlays) -> Chart:
    heading = ("run", "w0", "seed", "panel", "curve", "epoch", "value")
    names = [panel for panel in panels if any(row[3] == panel for row in rows)]
    last = max(float(str(row[5])) for row in rows)
    tooltip = [{"field": name, "type": "nominal"} for name in heading]
    views = [f"{name}_points" for name in names]
    shown = []
    for name in names:
        x = {"field": "epoch", "type": "quantitative", "scale": {"type": "log", "nice": False}, "title": "epoch"}
        y = {
            "field": "value",
            "type": "quantitative",
            "title": name,
            "scale": {"type": "log"} if name == "loss" else {"zero": False},
        }
        dashes = {"field": "curve", "type": "nominal", "legend": {"orient": "bottom", "title": None, "columns": "@few"}}
        base = {"x": x, "y": y, "color": _color(runs), "detail": {"field": "run"}}
        layers: list[Chart] = [
            {"mark": "line", "encoding": {**base, "strokeDash": dashes, "opacity": _opacity(0.85)}},
            {
                "name": f"{name}_points",
                "mark": {"type": "point", "size": 60, "filled": True, "opacity": 0},
                "encoding": {**base, "tooltip": tooltip, "opacity": {"value": 0}},
            },
        ]
        paper = list(_paper_rows(name, overlays, last))
        if paper:
            layers.insert(0, _paper_line(paper))
        shown.append(
            {"width": "@width", "height": 190, "transform": [{"filter": f"datum.panel == '{name}'"}], "layer": layers}
        )
    return _frame(
        runs,
        {"data": _csv(heading, rows), "params": [*_selectors(runs), *_selections(views)], "vconcat": shown},
    )


def _paper_rows(panel: str, overlays: Overlays, last: float) -> Iterator[tuple[object, ...]]:
    for label, group in overlays.items():
        if label.partition(" ")[0] == panel:
            for digitised in group:
                for name, x, y in digitised.curves():
                    for at, value in zip(x, y, strict=True):
                        if 0 < at <= last:
                            yield f"{digitised.panel} {name}", f"{at:.5g}", f"{value:.5g}"


def _paper_line(rows: Sequence[Sequence[object]]) -> Chart:
    return {
        "data": _csv(("curve", "epoch", "value"), rows),
        # The panel's filter is of the runs' rows: these have a panel of their own making.
        "mark": {"type": "line", "color": PAPER_COLOR, "strokeWidth": 1, "tooltip": PAPER},
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative"},
            "y": {"field": "value", "type": "quantitative"},
            "detail": {"field": "curve"},
        },
    }


def _paper_points(overlays: Overlays, options: Sequence[str], encoding: Chart) -> Iterator[Chart]:
    """The paper's own points of the quantity that is shown, where it has any."""
    rows = [
        (name, f"{x:.6g}", f"{c:.6g}")
        for name in options
        for digitised in overlays.get(_MAIN if name == _FIRST and _MAIN in overlays else name, ())
        for _, at, values in digitised.curves()
        for x, c in zip(at, values, strict=True)
    ]
    if rows:
        yield {
            "data": _csv(("quantity", "chosen", "compressibility"), rows),
            "transform": [{"filter": "datum.quantity == shown"}],
            "mark": {"type": "point", "shape": "cross", "color": PAPER_COLOR, "size": 40, "tooltip": PAPER},
            "encoding": encoding,
        }


def _scatter(runs: Sequence[Run], labels: Mapping[str, str], *, x: str, y: str, spec: FigureSpec) -> Chart:
    """Points with one axis to choose: the one that is not w0 or compressibility."""
    names = [name for name in labels if name != "w0"]
    columns = {name: values_of(runs, name) for name in names}
    rows = [
        (*_who(run), *("" if np.isnan(columns[name][k]) else f"{columns[name][k]:.6g}" for name in names))
        for k, run in enumerate(runs)
    ]
    heading = ("run", "w0", "seed", *names)
    options = [name for name in names if name != "compressibility"]
    free = y if x == "w0" else x
    chosen = free if free in options else options[0]
    select = {
        "name": "shown",
        "value": chosen,
        "bind": {"input": "select", "options": options, "labels": [labels[name] for name in options], "name": "show "},
    }
    axis = {"field": "chosen", "type": "quantitative", "scale": {"zero": False}, "title": "chosen quantity"}
    # w0 spans decades: its axis is logarithmic, of numbers that are made of the names of its colours.
    scale = {"field": "at", "type": "quantitative", "scale": {"type": "log"}, "title": "w0"}
    fixed = {"field": "compressibility", "type": "quantitative", "scale": {"zero": False}, "title": "compressibility c"}
    tooltip = [
        *({"field": name, "type": "nominal"} for name in ("run", "w0", "seed")),
        *({"field": name, "type": "quantitative", "title": labels[name]} for name in names),
    ]
    data = _csv(heading, rows)
    data["format"]["parse"] |= dict.fromkeys(names, "number")
    encoding = {"x": scale if x == "w0" else axis, "y": axis if x == "w0" else fixed}
    ours = {
        "name": "points",
        "mark": {"type": "point", "filled": True, "size": 70},
        "encoding": {**encoding, "color": _color(runs), "opacity": _opacity(0.9), "tooltip": tooltip},
    }
    layers = [*_paper_points(spec.paper, options, encoding), ours] if x != "w0" else [ours]
    return _frame(
        runs,
        {
            "data": data,
            "params": [select, *_selectors(runs), *_selections(["points"])],
            "transform": [
                {"calculate": "datum[shown]", "as": "chosen"},
                {"calculate": "toNumber(datum.w0)", "as": "at"},
                {"filter": "isValid(datum.chosen)"},
            ],
            "vconcat": [{"width": "@width", "height": 300, "layer": layers}],
        },
    )

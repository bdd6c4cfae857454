"""What the columns of first-schema runs are: their records did not say, and their tasks are known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_METRICS = {
    "train_loss": ("mean loss over the epoch's batches, while the weights change", "nat", "train loss"),
    "train_accuracy": ("share of right predictions over the epoch's batches", "", "train accuracy"),
    "test_loss": ("mean loss on the test split after the epoch", "nat", "test loss"),
    "test_accuracy": ("share of right predictions on the test split after the epoch", "", "test accuracy"),
    "train_loss_full": ("mean loss on the whole train split after the epoch", "nat", "train loss (full pass)"),
    "train_accuracy_full": ("share of right predictions on the whole train split after the epoch", "", ""),
}
_ENDS = {
    "plateau_end": (
        "last epoch of the plateau of a run that groks, before test accuracy leaves its level at t_train",
        "epochs",
    ),
    "size_at_5_percent_drop": ("smallest share of weights that keeps 95 % of the unpruned test accuracy", ""),
}
_QUANTITIES = {"energy": "E", "magnetization": "M", "abs_magnetization": "|M|"}
_OF_LAYER = {
    "weighted": "mean |r| with {q}, weighted by pre-activation, of {layer}",
    "mean": "mean |r| with {q} of {layer}",
    "led": "share of {layer} that correlate most with {q}",
    "share": "share of the pre-activation carried by those of {layer} that correlate most with {q}",
    "post_mean": "mean |r| with {q} of {layer}, after ReLU",
}
_LAYER = re.compile(rf"(\w+?)_({'|'.join(_OF_LAYER)})_(abs_magnetization|magnetization|energy)")
_IPR = re.compile(r"ipr_(input|output)(_separate)?(_complex)?(_no_constant)?")
_TIME = re.compile(r"(t_train|t_test|t_grok|groks)(_90)?(_full)?")
_GEOMETRY = {
    "length": "length of the step that begins here",
    "cosine": "cosine between the step before and the step after",
    "origin": "cosine between the step and the way to the origin",
}

Described = dict[str, Any]


def columns_of(summary: Mapping[str, Any], looks: Mapping[str, Any]) -> list[Described]:
    """The columns of a run, from what its summary holds and what was looked at.

    Args:
        summary: Under today's names.
        looks: As the second schema has them.

    Returns:
        Mappings as :meth:`grokfast.measures.Column.to_dict` writes them, each with its ``measure``.
    """
    found = [*_metrics(summary), *_geometry(looks)]
    for name in summary:
        found += _ending(name)
    layers = dict.fromkeys(match[1] for match in map(_LAYER.fullmatch, summary) if match)
    for layer in layers:
        of = _units(layer)
        found.append(_array(f"r_{layer}", f"correlations of {of} with each quantity, before ReLU"))
        found.append(_array(f"weights_{layer}", f"mean pre-activation of {of}, the weights of their mean"))
    if layers:
        found.append(_array("energy", "energy per site of each test snapshot", "J"))
    if "compressibility" in summary:
        about = "test accuracy by pruned fraction, layerwise by magnitude"
        found.append({**_array("pruning_accuracy", about), "measure": "compressibility"})
    return list({column["name"]: column for column in found}.values())


def _column(name: str, meaning: str, measure: str, unit: str = "", **more: Any) -> Described:
    plain = {"name": name, "meaning": meaning, "unit": unit, "label": "", "kind": "scalar", "headline": False}
    return {**plain, "measure": measure, **more}


def _array(name: str, meaning: str, unit: str = "") -> Described:
    return _column(name, meaning, "features", unit, kind="array")


def _metrics(summary: Mapping[str, Any]) -> Iterator[Described]:
    for name, (meaning, unit, label) in _METRICS.items():
        if f"end_{name}" in summary:
            yield _column(name, meaning, "metrics", unit, label=label)
            yield _column(f"end_{name}", f"{meaning}, last epoch", "metrics", unit, kind="end")


def _geometry(looks: Mapping[str, Any]) -> Iterator[Described]:
    metrics: dict[str, bool] = {}
    borders = {look.split(":")[3] for look in looks if look.startswith("geometry:")} - {"0"}
    border = max(borders, default="0.1")  # the paper's, where nothing was split
    for look in looks:
        if look.startswith("geometry:"):
            _, metric, _, border = look.split(":")
            metrics[metric] = metrics.get(metric, False) or border != "0"
    for metric, split in {**({"euclidean": False} if metrics else {}), **metrics}.items():
        stem = f"geometry_{metric.replace('-', '_')}"
        within = "in the Euclidean metric" if metric == "euclidean" else f"in the metric {metric}"
        parts = {"": "", "stiff_": ", stiff parameters", "sloppy_": ", sloppy parameters"}
        for part, of in parts.items() if split else [("", "")]:
            for name, meaning in _GEOMETRY.items():
                yield _column(f"{stem}_{part}{name}", f"{meaning}, {within}{of}", "geometry")
        yield _column(f"{stem}_undefined", f"looks so far at which one of these had no meaning, {within}", "geometry")
        if metric != "euclidean":
            diagonal, about = metric.removesuffix("-full"), "sorted diagonal of {} at spectrum_ranks"
            name = diagonal.replace("-", "_")
            yield {**_array(f"spectrum_{name}", about.format(diagonal)), "measure": "geometry"}
            share = f"share of parameters with {diagonal} >= {border}"
            yield _column(f"stiff_share_{name}", share, "geometry", kind="end")
    if metrics:
        yield {**_array("spectrum_ranks", "ranks, from 0, at which spectra are kept"), "measure": "geometry"}


def _ending(name: str) -> Iterator[Described]:
    """What a value of the summary is, if it is none of the metrics'."""
    if match := _TIME.fullmatch(name):
        which, ninety, full = match.groups()
        share = "0.9" if ninety else "0.95"
        at = ninety or ""
        own = {"t_grok": f"t_test{at} - t_train{at}", "groks": f"whether t_grok{at} > t_train{at}"}
        meaning = own.get(which, f"first epoch at which {which[2:]} accuracy reaches {share} of its maximum")
        of = ", train accuracy on the whole split" if full else ""
        yield _column(name, f"{meaning}{of}", "metrics", "" if which == "groks" else "epochs", kind="end")
    elif name in _ENDS:
        measure = "metrics" if name == "plateau_end" else "compressibility"
        yield _column(name, _ENDS[name][0], measure, _ENDS[name][1], kind="end")
    elif match := _LAYER.fullmatch(name):
        layer, kind, q = match.groups()
        shown = layer == "hidden" and kind == "weighted"
        label = rf"$\tilde{{r}}$ of {_QUANTITIES[q]}, hidden layer" if shown else ""
        yield _column(name, _OF_LAYER[kind].format(q=q, layer=_units(layer)), "features", headline=shown, label=label)
    elif name.endswith("_constant") and not name.startswith("ipr_"):
        of = _units(name.removesuffix("_constant"))
        yield _column(name, f"{of} that give every test input the same, without correlation", "features")
    elif match := _IPR.fullmatch(name):
        end, separate, is_complex, no_constant = match.groups()
        blocks = {"input": ", mean of the blocks" if separate else ", both blocks as one"}.get(end, "")
        basis = ", complex basis" if is_complex else ", real basis"
        without = ", without the constant mode" if no_constant else ""
        meaning = f"inverse participation ratio of {end} weights{blocks}{basis}{without}, mean over live neurons"
        plain = not (separate or is_complex or no_constant)
        yield _column(name, meaning, "features", headline=plain, label=f"{end} IPR" if plain else "")
    elif name in ("dead_input", "dead_output"):
        yield _column(name, f"neurons whose {name[5:]} weights are all zero", "features", "neurons")
    elif name == "weight_norm":
        yield _column(name, "Euclidean norm of all parameters", "features", label="|w|")
    elif name == "compressibility":
        meaning = "1 / (1 - area under the layerwise pruning curve of test accuracy)"
        yield _column(name, meaning, "compressibility", label="$c$", headline=True)


def _units(layer: str) -> str:
    if layer.startswith("channels"):
        return f"the channel means of conv{layer.removeprefix('channels')}"
    return f"the {'units' if layer.startswith('conv') else 'neurons'} of {layer}"

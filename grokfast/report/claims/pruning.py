"""C6 and C7: what other ways to prune make of the same networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from grokfast.endmodel import kept_pruning, layers
from grokfast.figures.choose import scale_of
from grokfast.figures.schemes import layer_title
from grokfast.pruning import Scheme
from grokfast.report.claims.claim import Case, Finding, Needs, claim
from grokfast.runs import Run

_BOTH = ("main-text", "ising")
_C = "compressibility"
_GINI = tuple(f"gini_fisher{kind}{part}" for kind in ("", "_logit") for part in ("", "_weights"))
_FISHERS = {"softmax": "", "logit": "_logit"}
_RIVAL = {Scheme.FISHER_GLOBAL: Scheme.GLOBAL, Scheme.FISHER_LAYERWISE: Scheme.LAYERWISE}
_KEPT = ("pruning-global", *(f"pruning-{scheme.value}-{fisher}" for scheme in _RIVAL for fisher in _FISHERS))


@claim(
    "C6",
    "The Gini coefficient of the Fisher diagonal exceeds that of the weights, yet Fisher pruning does worse than "
    "magnitude pruning",
    topic="pruning",
    figures=("fig15", "fig21", "fig22", "fig23", "fig24"),
    studies=_BOTH,
    needs=Needs((_C, "gini_weights", "gini_parameters", *_GINI), kept=_KEPT),
)
def fisher_pruning(case: Case) -> Iterator[Finding]:
    """Gini of the Fisher diagonal less that of the weights, and c of Fisher pruning less that of magnitude pruning."""
    for fisher, suffix in _FISHERS.items():
        for part, weights in (("", "gini_parameters"), ("_weights", "gini_weights")):
            gap = case.values(f"gini_fisher{suffix}{part}") - case.values(weights)
            place = f"{fisher} Fisher, {'weights alone' if part else 'all parameters'}"
            name = "Gini of the Fisher diagonal less that of the weights"
            yield case.finding(name, gap, "correlation", place=place, of="mean of runs")
    for scheme, rival in _RIVAL.items():
        base = compressibilities(case.runs, rival)
        for fisher in _FISHERS:
            gap = compressibilities(case.runs, scheme, fisher=fisher) - base
            how = "globally" if scheme is Scheme.FISHER_GLOBAL else "layer by layer"
            name = f"c of Fisher pruning {how} less that of magnitude pruning"
            yield case.finding(name, gap, place=f"{fisher} Fisher", of="mean of runs")
    for w0, runs in case.scales.items():
        found = compressibilities(runs, Scheme.FISHER_GLOBAL, fisher="logit")
        yield case.finding(f"c of global Fisher pruning (logit), w0 = {w0:g}", found)


@claim(
    "C7",
    "Global magnitude pruning looks better on the Ising network only because its last layer holds idle weights",
    topic="pruning",
    figures=("fig25", "fig26", "fig27"),
    studies=_BOTH,
    needs=Needs((_C,), kept=("pruning-global", "pruning-global-by-norm", "pruning-random")),
)
def global_pruning(case: Case) -> Iterator[Finding]:
    """What c of other schemes is less than that of layerwise pruning, and c of every layer pruned alone."""
    base = case.values(_C)
    for scheme in (Scheme.GLOBAL, Scheme.GLOBAL_BY_NORM, Scheme.RANDOM):
        gap = compressibilities(case.runs, scheme) - base
        yield case.finding(f"c of {scheme.value} less that of layerwise pruning", gap, of="mean of runs")
    for layer in layers(case.runs[0]):
        for side, runs in case.sides.items():
            found = compressibilities(runs, Scheme.LAYERWISE, layer)
            place = f"w0 = {scale_of(runs[0]):g} ({side})"
            yield case.finding(f"c of {layer_title(case.runs[0], layer)} pruned alone", found, place=place)


def compressibilities(
    runs: Sequence[Run], scheme: Scheme, layer: str | None = None, fisher: str = "softmax"
) -> NDArray[np.float64]:
    """Compressibility of a kept pruning curve of every run ``[n]``.

    Raises:
        MissingRunsError: If a curve has not been kept.
    """
    if scheme is Scheme.LAYERWISE and layer is None:
        return np.array([float(run.summary[_C]) for run in runs])  # taken at the end of training
    return np.array([kept_pruning(run, scheme, layer, fisher).compressibility.item() for run in runs])

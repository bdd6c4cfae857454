"""Measures applied to stored runs: to their end models, to their checkpoints, and to two runs at a time.

What is computed is kept beside the runs (:mod:`grokfast.store.derived`), so that it is computed once;
``grokfast measure`` computes what figures and reports need.
"""

from grokfast.endmodel.curves import curve_name, end_pruning, has_curve, kept_pruning, layers
from grokfast.endmodel.measuring import (
    LLC,
    STANDARD,
    compare_runs,
    end_llc,
    end_measures,
    measure_arrays,
    measure_checkpoints,
    measure_everything,
    measure_run,
    read_measure,
)
from grokfast.endmodel.model import end_fisher, end_gradients, end_params, snapshot_of

__all__ = [
    "LLC",
    "STANDARD",
    "compare_runs",
    "curve_name",
    "end_fisher",
    "end_gradients",
    "end_llc",
    "end_measures",
    "end_params",
    "end_pruning",
    "has_curve",
    "kept_pruning",
    "layers",
    "measure_arrays",
    "measure_checkpoints",
    "measure_everything",
    "measure_run",
    "read_measure",
    "snapshot_of",
]

"""Reports: what the paper claims next to what was measured."""

from collections.abc import Callable

from grokfast.report.dynamics import dynamics_report
from grokfast.report.geometry import geometry_report
from grokfast.report.ising import ising_report
from grokfast.report.modular_addition import modular_addition_report
from grokfast.report.pruning import pruning_report
from grokfast.runs import RunTable

REPORTS: dict[str, Callable[[RunTable], str]] = {
    "dynamics": dynamics_report,
    "geometry": geometry_report,
    "ising": ising_report,
    "modular-addition": modular_addition_report,
    "pruning": pruning_report,
}

__all__ = ["REPORTS"]

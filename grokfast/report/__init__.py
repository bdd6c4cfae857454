"""Reports: what the paper claims next to what was measured."""

from collections.abc import Callable

from grokfast.report.beyond import beyond_report
from grokfast.report.dynamics import dynamics_report
from grokfast.report.geometry import geometry_report
from grokfast.report.ising import ising_report
from grokfast.report.modular_addition import modular_addition_report
from grokfast.report.pruning import pruning_report
from grokfast.runs import RunTable

REPORTS: dict[str, Callable[[RunTable], str]] = {
    "beyond": beyond_report,
    "dynamics": dynamics_report,
    "geometry": geometry_report,
    "ising": ising_report,
    "modular-addition": modular_addition_report,
    "pruning": pruning_report,
}


def listing() -> str:
    """The reports as lines of text: what each is called, and what it measures."""
    firsts = {name: (report.__doc__ or "").strip().splitlines()[0] for name, report in REPORTS.items()}
    width = max(map(len, firsts))
    return "\n".join(f"{name:{width}}  {first}" for name, first in firsts.items())


__all__ = ["REPORTS", "listing"]

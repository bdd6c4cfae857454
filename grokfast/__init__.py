"""Study how networks learn, by grokking or steadily.

The names below are loaded when they are first used, so that ``import grokfast`` costs next to nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grokfast.figures import FigureSpec as FigureSpec
    from grokfast.figures import register_figure as register_figure
    from grokfast.fisher import FisherDiagonal as FisherDiagonal
    from grokfast.fisher import fisher_diag as fisher_diag
    from grokfast.fisher import fisher_gram as fisher_gram
    from grokfast.fisher import fisher_inner as fisher_inner
    from grokfast.fisher import fisher_plan as fisher_plan
    from grokfast.fisher import fisher_vector_product as fisher_vector_product
    from grokfast.geometry import Trajectory as Trajectory
    from grokfast.geometry import trajectory_measures as trajectory_measures
    from grokfast.ising import IsingSampler as IsingSampler
    from grokfast.ising import ising_dataset as ising_dataset
    from grokfast.learning_coefficient import LLC as LLC
    from grokfast.learning_coefficient import llc as llc
    from grokfast.measures import Column as Column
    from grokfast.observe import Measure as Measure
    from grokfast.observe import measure as measure
    from grokfast.observe import register_measure as register_measure
    from grokfast.pruning import measure_pruning as measure_pruning
    from grokfast.pruning import prune_module as prune_module
    from grokfast.pruning import pruning_masks as pruning_masks
    from grokfast.pruning import pruning_selection as pruning_selection
    from grokfast.runs import Run as Run
    from grokfast.runs import RunTable as RunTable
    from grokfast.runs import load as load
    from grokfast.store import Store as Store
    from grokfast.tasks import Ising as Ising
    from grokfast.tasks import ModularAddition as ModularAddition
    from grokfast.tasks import NetworkTask as NetworkTask
    from grokfast.tasks import Split as Split
    from grokfast.tasks import register_task as register_task
    from grokfast.train import train_runs as train_runs
    from grokfast.training import GeometryMeasure as GeometryMeasure
    from grokfast.training import Observer as Observer
    from grokfast.training import RunConfig as RunConfig
    from grokfast.training import observe_quantities as observe_quantities
    from grokfast.training import train_stack as train_stack

_HOMES = {
    "fisher": (
        "FisherDiagonal",
        "fisher_diag",
        "fisher_gram",
        "fisher_inner",
        "fisher_plan",
        "fisher_vector_product",
    ),
    "geometry": ("Trajectory", "trajectory_measures"),
    "ising": ("IsingSampler", "ising_dataset"),
    "figures": ("FigureSpec", "register_figure"),
    "learning_coefficient": ("LLC", "llc"),
    "measures": ("Column",),
    "observe": ("Measure", "measure", "register_measure"),
    "pruning": ("measure_pruning", "prune_module", "pruning_masks", "pruning_selection"),
    "runs": ("Run", "RunTable", "load"),
    "store": ("Store",),
    "train": ("train_runs",),
    "tasks": ("Ising", "ModularAddition", "NetworkTask", "Split", "register_task"),
    "training": ("GeometryMeasure", "Observer", "RunConfig", "observe_quantities", "train_stack"),
}
"""Which module each public name lives in (PEP 562); the imports above say the same to editors and type checkers."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _refuse_the_checkout() -> None:
    """In the checkout's root Python finds the sources, without the compiled kernels, before the installed package."""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "csrc").is_dir() and importlib.util.find_spec(f"{__name__}._core") is None:
        raise ImportError(
            f"this is the source folder {checkout / 'grokfast'}, which has no compiled kernels and hides the installed "
            "package: run from another folder (or start `pytest`, not `python -m pytest`); `pip install .` installs it"
        )


_refuse_the_checkout()

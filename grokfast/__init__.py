"""Study how networks learn, by grokking or steadily."""

from grokfast.fisher import (
    FisherDiagonal,
    fisher_diag,
    fisher_gram,
    fisher_inner,
    fisher_plan,
    fisher_vector_product,
)
from grokfast.geometry import Trajectory, trajectory_measures
from grokfast.ising import IsingSampler, ising_dataset
from grokfast.pruning import measure_pruning, prune_module, pruning_masks
from grokfast.runs import Run, RunTable, load
from grokfast.store import Store
from grokfast.tasks import Ising, ModularAddition
from grokfast.training import (
    GeometryMeasure,
    Observer,
    RunConfig,
    observe_quantities,
    train_runs,
    train_stack,
)

__all__ = [
    "FisherDiagonal",
    "GeometryMeasure",
    "Ising",
    "IsingSampler",
    "ModularAddition",
    "Observer",
    "Run",
    "RunConfig",
    "RunTable",
    "Store",
    "Trajectory",
    "fisher_diag",
    "fisher_gram",
    "fisher_inner",
    "fisher_plan",
    "fisher_vector_product",
    "ising_dataset",
    "load",
    "measure_pruning",
    "observe_quantities",
    "prune_module",
    "pruning_masks",
    "train_runs",
    "train_stack",
    "trajectory_measures",
]

"""Study how networks learn, by grokking or steadily."""

from grokfast.fisher import FisherDiagonal, fisher_diag, fisher_inner, fisher_plan, fisher_vector_product
from grokfast.ising import IsingSampler, ising_dataset
from grokfast.runs import Run, RunTable, load
from grokfast.store import Store
from grokfast.tasks import ModularAddition
from grokfast.training import Observer, RunConfig, train_runs, train_stack

__all__ = [
    "FisherDiagonal",
    "IsingSampler",
    "ModularAddition",
    "Observer",
    "Run",
    "RunConfig",
    "RunTable",
    "Store",
    "fisher_diag",
    "fisher_inner",
    "fisher_plan",
    "fisher_vector_product",
    "ising_dataset",
    "load",
    "train_runs",
    "train_stack",
]

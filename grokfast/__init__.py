"""Study how networks learn, by grokking or steadily."""

from grokfast.ising import IsingSampler, ising_dataset
from grokfast.runs import Run, RunTable, load
from grokfast.store import Store
from grokfast.tasks import ModularAddition
from grokfast.training import Observer, RunConfig, train_runs, train_stack

__all__ = [
    "IsingSampler",
    "ModularAddition",
    "Observer",
    "Run",
    "RunConfig",
    "RunTable",
    "Store",
    "ising_dataset",
    "load",
    "train_runs",
    "train_stack",
]

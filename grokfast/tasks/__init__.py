"""Tasks behind one protocol; ``TASKS`` lists them by name."""

from grokfast.tasks.base import Features, Split, Task, evaluate
from grokfast.tasks.ising import Ising
from grokfast.tasks.modular_addition import ModularAddition
from grokfast.tasks.neurons import HasPreactivations, Quantities, layer_features, readings
from grokfast.tasks.pruning import HasNestedLosses, task_pruning_curves
from grokfast.tasks.streams import stream

TASKS: dict[str, type[Task]] = {ModularAddition.name: ModularAddition, Ising.name: Ising}

__all__ = [
    "TASKS",
    "Features",
    "HasNestedLosses",
    "HasPreactivations",
    "Ising",
    "ModularAddition",
    "Quantities",
    "Split",
    "Task",
    "evaluate",
    "layer_features",
    "readings",
    "stream",
    "task_pruning_curves",
]

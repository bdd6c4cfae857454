"""Tasks behind one protocol; ``TASKS`` lists them by name."""

from grokfast.tasks.base import Features, Split, Task, evaluate, loss_function_of
from grokfast.tasks.choice import Network, TokenTask
from grokfast.tasks.ising import Ising
from grokfast.tasks.mnist import Mnist
from grokfast.tasks.modular import Modular, Operation, added_modulus
from grokfast.tasks.modular_addition import ModularAddition
from grokfast.tasks.modules import fresh_module, load_parameters
from grokfast.tasks.network import NetworkTask
from grokfast.tasks.neurons import HasPreactivations, Quantities, layer_features, readings
from grokfast.tasks.outputs import Loss, mean_loss
from grokfast.tasks.parity import SparseParity
from grokfast.tasks.permutations import Permutations
from grokfast.tasks.pruning import HasNestedLosses, task_pruning_curves
from grokfast.tasks.registry import TASKS, find_task, reference_of, register_task, task_from_dict, task_to_dict
from grokfast.tasks.streams import stream
from grokfast.tasks.trial import check_network, check_splits

__all__ = [
    "TASKS",
    "Features",
    "HasNestedLosses",
    "HasPreactivations",
    "Ising",
    "Loss",
    "Mnist",
    "Modular",
    "ModularAddition",
    "Network",
    "NetworkTask",
    "Operation",
    "Permutations",
    "Quantities",
    "SparseParity",
    "Split",
    "Task",
    "TokenTask",
    "added_modulus",
    "check_network",
    "check_splits",
    "evaluate",
    "find_task",
    "fresh_module",
    "layer_features",
    "load_parameters",
    "loss_function_of",
    "mean_loss",
    "readings",
    "reference_of",
    "register_task",
    "stream",
    "task_from_dict",
    "task_pruning_curves",
    "task_to_dict",
]

"""The stacked training engine."""

from grokfast.observe import Dated, GeometryMeasure, Observer, Remembers, Snapshot, observe_quantities, schedule_epochs
from grokfast.training.config import SCHEMA, Optimizer, Precision, RunConfig, TrainMetrics, introduced
from grokfast.training.keeper import StateKeeper
from grokfast.training.loop import Interrupted, StackState, initial_stack, run_epochs
from grokfast.training.results import RunResult
from grokfast.training.state import load_state, save_state
from grokfast.training.train import plan_stacks, train_runs, train_stack

__all__ = [
    "SCHEMA",
    "Dated",
    "GeometryMeasure",
    "Interrupted",
    "Observer",
    "Optimizer",
    "Precision",
    "Remembers",
    "RunConfig",
    "RunResult",
    "Snapshot",
    "StackState",
    "StateKeeper",
    "TrainMetrics",
    "initial_stack",
    "introduced",
    "load_state",
    "observe_quantities",
    "plan_stacks",
    "run_epochs",
    "save_state",
    "schedule_epochs",
    "train_runs",
    "train_stack",
]

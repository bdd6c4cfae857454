"""The stacked training engine."""

from grokfast.observe import Dated, GeometryMeasure, Observer, Remembers, Snapshot, observe_quantities, schedule_epochs
from grokfast.store.identity import SCHEMA
from grokfast.training.choices import Optimizer, Precision, TrainMetrics
from grokfast.training.config import RunConfig
from grokfast.training.keeper import StateKeeper
from grokfast.training.looks import look_fields, missing_looks, only_looks, with_looks
from grokfast.training.loop import Interrupted, StackState, initial_stack, run_epochs
from grokfast.training.rates import RateDecay
from grokfast.training.record import ENGINE, config_of, run_record, versions
from grokfast.training.results import RunResult
from grokfast.training.stack import train_stack
from grokfast.training.state import load_state, save_state
from grokfast.training.train import plan_stacks, train_runs

__all__ = [
    "ENGINE",
    "SCHEMA",
    "Dated",
    "GeometryMeasure",
    "Interrupted",
    "Observer",
    "Optimizer",
    "Precision",
    "RateDecay",
    "Remembers",
    "RunConfig",
    "RunResult",
    "Snapshot",
    "StackState",
    "StateKeeper",
    "TrainMetrics",
    "config_of",
    "initial_stack",
    "load_state",
    "look_fields",
    "missing_looks",
    "observe_quantities",
    "only_looks",
    "plan_stacks",
    "run_epochs",
    "run_record",
    "save_state",
    "schedule_epochs",
    "train_runs",
    "train_stack",
    "versions",
    "with_looks",
]

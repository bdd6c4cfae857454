"""Sweeps: hundreds of runs on a laptop or a cluster, killed at any moment, resumed to the bit."""

from grokfast.studies import Sweep, read_sweep, sizes_of, sweep_of
from grokfast.sweep.carrier import SweepReport
from grokfast.sweep.engine import run_sweep
from grokfast.sweep.journal import begun_shards, sweeps_of
from grokfast.sweep.options import Carried, Chosen
from grokfast.sweep.plan import Plan, make_plan, part_of
from grokfast.sweep.receipt import Outcome, Receipt
from grokfast.sweep.repair import Repair, repair_store
from grokfast.sweep.shard import Job, run_shard
from grokfast.training.shards import Shard

__all__ = [
    "Carried",
    "Chosen",
    "Job",
    "Outcome",
    "Plan",
    "Receipt",
    "Repair",
    "Shard",
    "Sweep",
    "SweepReport",
    "begun_shards",
    "make_plan",
    "part_of",
    "read_sweep",
    "repair_store",
    "run_shard",
    "run_sweep",
    "sizes_of",
    "sweep_of",
    "sweeps_of",
]

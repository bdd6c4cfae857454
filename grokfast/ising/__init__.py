"""The two-dimensional Ising model: sampler, exact results and data sets."""

from grokfast.ising.dataset import IsingDataset, ising_dataset, train_test_split
from grokfast.ising.dataset_files import load_dataset, save_dataset
from grokfast.ising.engine import PackedSpins
from grokfast.ising.estimates import Estimate, Status, Trust, UnreliableErrorWarning
from grokfast.ising.kinds import Boundary, Dynamics, Layout, Order, Phase, Seeding, Start
from grokfast.ising.measure import Measurements
from grokfast.ising.pictures import plot_snapshots
from grokfast.ising.published import import_published_pickle
from grokfast.ising.sampler import IsingSampler
from grokfast.ising.stripes import StripeReport, find_stripes, stripe_report

__all__ = [
    "Boundary",
    "Dynamics",
    "Estimate",
    "IsingDataset",
    "IsingSampler",
    "Layout",
    "Measurements",
    "Order",
    "PackedSpins",
    "Phase",
    "Seeding",
    "Start",
    "Status",
    "StripeReport",
    "Trust",
    "UnreliableErrorWarning",
    "find_stripes",
    "import_published_pickle",
    "ising_dataset",
    "load_dataset",
    "plot_snapshots",
    "save_dataset",
    "stripe_report",
    "train_test_split",
]

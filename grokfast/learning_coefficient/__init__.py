"""The local learning coefficient: how singular the loss is around a trained network."""

from grokfast.learning_coefficient.chains import Mala
from grokfast.learning_coefficient.density import Density, ModuleDensity
from grokfast.learning_coefficient.diagnostics import drift, effective_sample_size, split_r_hat, standard_error
from grokfast.learning_coefficient.estimate import LLC, Settings, Status, estimate_llc, llc
from grokfast.learning_coefficient.locality import localisation, rms_of_tensors
from grokfast.learning_coefficient.sgld import Sgld

__all__ = [
    "LLC",
    "Density",
    "Mala",
    "ModuleDensity",
    "Settings",
    "Sgld",
    "Status",
    "drift",
    "effective_sample_size",
    "estimate_llc",
    "llc",
    "localisation",
    "rms_of_tensors",
    "split_r_hat",
    "standard_error",
]

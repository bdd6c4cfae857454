"""The local learning coefficient: how singular the loss is around a trained network."""

from grokfast.learning_coefficient.chains import Mala
from grokfast.learning_coefficient.curvature import Curvature, curvature_of, hessian_curvature
from grokfast.learning_coefficient.density import Density, LossFunction, ModuleDensity
from grokfast.learning_coefficient.diagnostics import drift, effective_sample_size, split_r_hat, standard_error
from grokfast.learning_coefficient.estimate import RHOS, Settings, estimate_curve, estimate_llc, llc
from grokfast.learning_coefficient.locality import localisation, rms_of_tensors
from grokfast.learning_coefficient.recipes import Recipe, RecipeName, recipe
from grokfast.learning_coefficient.result import LLC, Status
from grokfast.learning_coefficient.sgld import Sgld
from grokfast.learning_coefficient.stacked import StackedDensity, StackedLoss, stacked_curvature

__all__ = [
    "LLC",
    "RHOS",
    "Curvature",
    "Density",
    "LossFunction",
    "Mala",
    "ModuleDensity",
    "Recipe",
    "RecipeName",
    "Settings",
    "Sgld",
    "StackedDensity",
    "StackedLoss",
    "Status",
    "curvature_of",
    "drift",
    "effective_sample_size",
    "estimate_curve",
    "estimate_llc",
    "hessian_curvature",
    "llc",
    "localisation",
    "recipe",
    "rms_of_tensors",
    "split_r_hat",
    "stacked_curvature",
    "standard_error",
]

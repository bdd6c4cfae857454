"""The Fisher diagonal of any network, and exact products with its Fisher matrix."""

from grokfast.fisher.diagonal import fisher_diag
from grokfast.fisher.plan import FisherPlan, Route, fisher_plan
from grokfast.fisher.products import fisher_gram, fisher_inner, fisher_vector_product
from grokfast.fisher.reference import fisher_diag_reference
from grokfast.fisher.result import FisherDiagonal
from grokfast.fisher.variants import Kind, Likelihood, Reduction, Way

__all__ = [
    "FisherDiagonal",
    "FisherPlan",
    "Kind",
    "Likelihood",
    "Reduction",
    "Route",
    "Way",
    "fisher_diag",
    "fisher_diag_reference",
    "fisher_gram",
    "fisher_inner",
    "fisher_plan",
    "fisher_vector_product",
]

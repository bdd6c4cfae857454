"""Everything that is measured: one protocol, one registry, and the measures that come with the package."""

from grokfast.observe.alignment import cka
from grokfast.observe.coarse import QuantisationMeasure, RankMeasure
from grokfast.observe.compressibility import CompressibilityMeasure, stack_pruning_curve
from grokfast.observe.effective_rank import EffectiveRankMeasure
from grokfast.observe.ends import Ends, describe
from grokfast.observe.features import FeaturesMeasure
from grokfast.observe.flatness import FlatnessMeasure, hessian_product
from grokfast.observe.geometry import PAPER_THRESHOLD, GeometryMeasure
from grokfast.observe.gini import GiniFisherMeasure, GiniMeasure, NormsMeasure
from grokfast.observe.given import checked_values, is_built_in, reserved_names
from grokfast.observe.hidden import Hidden, last_hidden
from grokfast.observe.llc import (
    LlcMeasure,
    LlcPaperMeasure,
    LlcPopulationMeasure,
    end_coefficients,
    fresh_snapshots,
    is_llc_diagnostic,
)
from grokfast.observe.logit_scale import LogitScaleMeasure
from grokfast.observe.mutual_information import InformationMeasure
from grokfast.observe.names import ENDS, FULL_ENDS, FULL_TIMES, FULL_TRAIN, METRICS, RESERVED, THRESHOLDS, TIMES
from grokfast.observe.progress import ProgressMeasure
from grokfast.observe.protocol import (
    Closes,
    FunctionMeasure,
    HasArrays,
    LooksAround,
    Measure,
    Need,
    Observer,
    Remembers,
    measure,
    measure_name,
)
from grokfast.observe.quantities import observe_quantities
from grokfast.observe.registry import MEASURES, find_measure, observer_of, register_measure
from grokfast.observe.schedule import canonical_schedule, check_schedule, covers, schedule_epochs, union
from grokfast.observe.sign_losses import SignLossesMeasure
from grokfast.observe.snapshot import Dated, Seen, Snapshot
from grokfast.observe.superposition import SuperpositionMeasure
from grokfast.observe.watch import Watch

FEATURES = FeaturesMeasure()
COMPRESSIBILITY = CompressibilityMeasure()

for _measure in (
    FEATURES,
    COMPRESSIBILITY,
    GiniMeasure(),
    GiniFisherMeasure(),
    NormsMeasure(),
    SignLossesMeasure(),
    SuperpositionMeasure(),
    EffectiveRankMeasure(),
    LogitScaleMeasure(),
    FlatnessMeasure(),
    ProgressMeasure(),
    InformationMeasure(),
    LlcMeasure(),
    LlcPaperMeasure(),
    LlcPopulationMeasure(),
    QuantisationMeasure(),
    RankMeasure(),
    cka,
):
    register_measure(_measure)

__all__ = [
    "COMPRESSIBILITY",
    "ENDS",
    "FEATURES",
    "FULL_ENDS",
    "FULL_TIMES",
    "FULL_TRAIN",
    "MEASURES",
    "METRICS",
    "PAPER_THRESHOLD",
    "RESERVED",
    "THRESHOLDS",
    "TIMES",
    "Closes",
    "CompressibilityMeasure",
    "Dated",
    "EffectiveRankMeasure",
    "Ends",
    "FeaturesMeasure",
    "FlatnessMeasure",
    "FunctionMeasure",
    "GeometryMeasure",
    "GiniFisherMeasure",
    "GiniMeasure",
    "HasArrays",
    "Hidden",
    "InformationMeasure",
    "LlcMeasure",
    "LlcPaperMeasure",
    "LlcPopulationMeasure",
    "LogitScaleMeasure",
    "LooksAround",
    "Measure",
    "Need",
    "NormsMeasure",
    "Observer",
    "ProgressMeasure",
    "QuantisationMeasure",
    "RankMeasure",
    "Remembers",
    "Seen",
    "SignLossesMeasure",
    "Snapshot",
    "SuperpositionMeasure",
    "Watch",
    "canonical_schedule",
    "check_schedule",
    "checked_values",
    "cka",
    "covers",
    "describe",
    "end_coefficients",
    "find_measure",
    "fresh_snapshots",
    "hessian_product",
    "is_built_in",
    "is_llc_diagnostic",
    "last_hidden",
    "measure",
    "measure_name",
    "observe_quantities",
    "observer_of",
    "register_measure",
    "reserved_names",
    "schedule_epochs",
    "stack_pruning_curve",
    "union",
]

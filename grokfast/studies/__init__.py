"""Studies: a setting, its sizes and its command, shared by sweeps, figures and reports."""

from grokfast.studies.file import Sweep, read_sweep, sizes_of, sweep_of
from grokfast.studies.setting import Setting, is_alike, setting_of, varying
from grokfast.studies.stored import HALF, Stored, stored_by_size, stored_runs
from grokfast.studies.study import STUDIES, Study, find_study, listing, read_study

__all__ = [
    "HALF",
    "STUDIES",
    "Setting",
    "Stored",
    "Study",
    "Sweep",
    "find_study",
    "is_alike",
    "listing",
    "read_study",
    "read_sweep",
    "setting_of",
    "sizes_of",
    "stored_by_size",
    "stored_runs",
    "sweep_of",
    "varying",
]

"""The paper's claims as functions: measured with an interval, beside what its text says and its figures show."""

from grokfast.report.claims import dynamics, encoding, features, geometry, lengths, pruning, times
from grokfast.report.claims.claim import CLAIMS, Case, Claim, Finding, Needs, claim, median_range
from grokfast.report.claims.evaluate import ClaimResult, Part, evaluate, evaluate_all
from grokfast.report.claims.expected import Expected, expected_of
from grokfast.report.claims.verdict import Margin, Reference, Verdict, find_margin, judge, margins, region

TOPICS = (times, features, encoding, pruning, dynamics, geometry, lengths)
"""The modules whose claims are registered, in the order of the ledger."""

__all__ = [
    "CLAIMS",
    "TOPICS",
    "Case",
    "Claim",
    "ClaimResult",
    "Expected",
    "Finding",
    "Margin",
    "Needs",
    "Part",
    "Reference",
    "Verdict",
    "claim",
    "evaluate",
    "evaluate_all",
    "expected_of",
    "find_margin",
    "judge",
    "margins",
    "median_range",
    "region",
]

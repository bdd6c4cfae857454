"""Reports: what the paper claims next to what was measured."""

from grokfast.report.pages import REPORTS, Report, listing

__all__ = ["REPORTS", "Report", "listing"]

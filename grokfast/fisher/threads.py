"""Torch's threads out of the way of the kernels' threads: one rule for all that call them."""

from __future__ import annotations

from grokfast.ops.threads import one_thread

__all__ = ["one_thread"]

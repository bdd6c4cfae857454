"""The door to the figures for what lies below them: ``run.plot()`` asks for a function by name when it is called.

Figures import runs, so that runs cannot import figures; like the package root (PEP 562), this module finds them when
they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOORS = "grokfast.figures.doors"
"""The module whose functions draw what has a method ``plot``."""


def plot_with(name: str, *arguments: Any) -> Figure:
    """Call one function of :data:`DOORS`.

    Args:
        name: Of the function.
        arguments: Its own.
    """
    drawn: Figure = getattr(importlib.import_module(DOORS), name)(*arguments)
    return drawn

"""The whole paper by one command: what it takes, doing it, and the page."""

from grokfast.reproduce.beyond import write_beyond
from grokfast.reproduce.cost import PAGE, PartCost, costs
from grokfast.reproduce.run import Reproduced, places, reproduce
from grokfast.reproduce.stages import BEYOND, PAPER, SIZES, Stage, stages_of, with_llc

__all__ = [
    "BEYOND",
    "PAGE",
    "PAPER",
    "SIZES",
    "PartCost",
    "Reproduced",
    "Stage",
    "costs",
    "places",
    "reproduce",
    "stages_of",
    "with_llc",
    "write_beyond",
]

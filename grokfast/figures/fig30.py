"""Figure 30: dynamics of the Ising features of the hidden layer."""

from grokfast.figures.layer_dynamics import layer_spec

SPEC = layer_spec("fig30", "hidden", "the hidden layer")

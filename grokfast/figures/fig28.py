"""Figure 28: dynamics of the Ising features of convolution 1: every unit."""

from grokfast.figures.layer_dynamics import layer_spec

SPEC = layer_spec("fig28", "conv1", "convolution 1: every unit")

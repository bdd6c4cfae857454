"""Figure 29: dynamics of the Ising features of convolution 2: every unit."""

from grokfast.figures.layer_dynamics import layer_spec

SPEC = layer_spec("fig29", "conv2", "convolution 2: every unit")

"""Figure 13: correlations of every neuron with E, M and |M| in grokking."""

from grokfast.figures.neuron_correlations import correlations_spec

SPEC = correlations_spec("fig13", max, "largest w0 (grokking)")

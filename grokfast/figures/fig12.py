"""Figure 12: correlations of every neuron with E, M and |M| in steady learning."""

from grokfast.figures.neuron_correlations import correlations_spec

SPEC = correlations_spec("fig12", min, "smallest w0 (learning)")

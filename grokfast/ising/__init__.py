"""The two-dimensional Ising model: sampler, exact results and data sets."""

"""
The critical temperature, with error bars
=========================================

Tc and two critical exponents of the Ising model, from lattices of three sizes, beside the exact values.
"""

# %%
# One call: all sizes, all temperatures, and again where the Binder cumulants cross.
import warnings

import numpy as np

from grokfast.ising import IsingSampler, UnreliableErrorWarning
from grokfast.ising.exact import critical_temperature
from grokfast.ising.scan import temperature_scan
from grokfast.ising.scan_pictures import plot_scan

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UnreliableErrorWarning)  # short series are ringed in the figure
    scan = temperature_scan([4, 8, 16], np.linspace(2.0, 2.6, 9), seed=1, measurements=200)

# %%
# The transition and two exponents by finite-size scaling, with 95 % intervals.
assert scan.finite_size is not None, scan.why_not
exact = {"Tc": critical_temperature(), "γ/ν": 7 / 4, "β/ν": 1 / 8}
for (name, value), found in zip(exact.items(), scan.finite_size[:3], strict=True):
    print(
        f"{name:4} = {found.value:.3f} ± {found.error:.3f}, 95 % [{found.low:.3f}, {found.high:.3f}]; exact {value:.4f}"
    )

# %%
# Where everything was measured:
plot_scan(scan)

# %%
# The lattices that this is about, below, at and above the transition:
sampler = IsingSampler(64, [1.8, critical_temperature(), 3.0], replicas=8, init="up", seed=0)
sampler.sweep(2000)
sampler

# %%
# Clusters instead of single spins, where single spins are slow. Errors say by themselves whether they are to be
# trusted.
clusters = IsingSampler(32, [critical_temperature()], replicas=32, dynamics="swendsen-wang", init="up", seed=0)
clusters.sweep(100)
clusters.measure(200, every=2, progress=False)

"""Tc and two critical exponents of the Ising model, with error bars, cell by cell (``# %%`` opens as a notebook).

Run it (about a minute on two cores, the first time some seconds more to compile)::

    python examples/ising_critical_point.py [folder] [--quick]

It prints every estimate beside the exact value and writes ``ising_critical_point.png`` into the folder.
"""

# %% What to sample: sizes and temperatures around the transition
from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

from grokfast.ising import IsingSampler, UnreliableErrorWarning
from grokfast.ising.analysis import log_slope, reweight, second_moment_length
from grokfast.ising.exact import critical_temperature
from grokfast.ising.scan import temperature_scan
from grokfast.ising.scan_pictures import plot_scan

QUICK = "--quick" in sys.argv
FOLDER = Path(next((word for word in sys.argv[1:] if not word.startswith("-")), "."))
SIZES = [4, 8, 16] if QUICK else [8, 16, 32]
TEMPERATURES = np.linspace(2.0, 2.6, 9 if QUICK else 13)

# %% One call: all sizes, all temperatures, then again where the Binder cumulants cross
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UnreliableErrorWarning)  # short series are ringed in the figure
    scan = temperature_scan(SIZES, TEMPERATURES, seed=1, measurements=100 if QUICK else 500)

# %% The transition and two exponents, with 95 % intervals
assert scan.finite_size is not None, scan.why_not
exact = {"Tc": critical_temperature(), "γ/ν": 7 / 4, "β/ν": 1 / 8}
for (name, value), number in zip(exact.items(), scan.finite_size[:3], strict=True):
    print(
        f"{name:4} = {number.value:.4f} ± {number.error:.4f}, "
        f"95 % [{number.low:.4f}, {number.high:.4f}]; exact {value:.4f}"
    )

# %% By hand, what that did: measure each size near Tc with clusters, and reweight to the exact Tc
sizes, moments, errors = [], [], []
for L in SIZES:
    sampler = IsingSampler(L, 2.27, 32, dynamics="swendsen-wang", init="up", seed=L)
    sampler.sweep(100)
    critical = reweight(sampler.measure(200 if QUICK else 1000, progress=False), 0, critical_temperature())
    (
        sizes.append(L),
        moments.append(critical.abs_magnetization.mean[0]),
        errors.append(critical.abs_magnetization.error[0]),
    )
    xi = second_moment_length(sampler.spins[0])
    print(
        f"L = {L:3}: ⟨|m|⟩ = {moments[-1]:.4f} ± {errors[-1]:.4f}, "
        f"Binder {critical.binder.mean[0]:.4f}, ξ/L = {xi / L:.2f}"
    )
slope = log_slope(sizes, np.array(moments), np.array(errors))
print(f"β/ν from ⟨|m|⟩ at the exact Tc: {-slope.slope:.4f} ± {slope.error:.4f}")

# %% The picture
FOLDER.mkdir(parents=True, exist_ok=True)
plot_scan(scan).savefig(FOLDER / "ising_critical_point.png", dpi=110)

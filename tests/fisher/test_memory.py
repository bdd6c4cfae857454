"""Memory beyond the result is a block of samples, whatever way a parameter goes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_RUN = """
import sys
from pathlib import Path
import torch
from torch import nn
from grokfast.fisher import fisher_diag

torch.set_num_threads(1)
torch.manual_seed(0)

class Bare(nn.Module):
    def __init__(self, way, classes):
        super().__init__()
        self.way = way
        self.scale, self.out = nn.Parameter(torch.ones(24)), nn.Linear(24, classes)

    def forward(self, x):
        h = torch.maximum(x, self.scale) if self.way != "rule" else x
        f = self.out(h.tanh())
        return f if self.way != "loop" or float(f.detach().abs().max()) > 0 else -f

def read(field):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024

def peak(way, classes, samples):
    model = Bare(way, classes)
    model.out.requires_grad_(way == "rule")
    x = torch.randn(samples, 24)
    fisher_diag(model, x[:9])
    Path("/proc/self/clear_refs").write_text("5")
    before = read("VmRSS")
    plan = fisher_diag(model, x).plan
    assert str(plan.routes["out.weight" if way == "rule" else "scale"].way) == way, plan
    return read("VmHWM") - before

for way, classes, samples in (("rule", 100, 1000), ("vmap", 60, 400), ("loop", 10, 30)):
    print(way, *(peak(way, k * classes, k * samples) for k in (1, 4)))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of resident memory cannot be reset")
def test_the_peak_grows_neither_with_samples_nor_with_classes():
    """Growth of the resident peak: four times the samples and classes are 64 times the numbers in all columns."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _RUN],
        capture_output=True, text=True, check=True, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    peaks = {way: (float(few), float(many)) for way, few, many in map(str.split, run.stdout.splitlines())}
    assert set(peaks) == {"rule", "vmap", "loop"}
    assert 400**2 * 4000 * 4 / 2**20 > 2000  # MB in all columns of the largest run by rules
    assert peaks["rule"][1] < peaks["rule"][0] + 100
    assert peaks["vmap"][1] < peaks["vmap"][0] + 200
    assert peaks["loop"][1] < peaks["loop"][0] + 20

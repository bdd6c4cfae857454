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

way, classes, samples = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
torch.manual_seed(0)

class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.out = nn.Parameter(torch.ones(24)), nn.Linear(24, classes)

    def forward(self, x):
        h = torch.maximum(x, self.scale) if way != "rule" else x
        f = self.out(h.tanh())
        return f if way != "loop" or float(f.detach().abs().max()) > 0 else -f

model = Bare()
model.out.requires_grad_(way == "rule")
x = torch.randn(samples, 24)
def read(field):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024

fisher_diag(model, x[:9])
Path("/proc/self/clear_refs").write_text("5")
before = read("VmRSS")
plan = fisher_diag(model, x).plan
assert str(plan.routes["scale"].way) == (way if way != "rule" else "rule"), plan
print(read("VmHWM") - before)
"""


def _peak(way: str, classes: int, samples: int) -> float:
    """Growth of the resident peak in MB over one diagonal, in a fresh process."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _RUN, way, str(classes), str(samples)],
        capture_output=True, text=True, check=True, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    return float(run.stdout)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of resident memory cannot be reset")
@pytest.mark.parametrize(("way", "classes", "samples"), [("rule", 100, 1000), ("vmap", 60, 400), ("loop", 20, 40)])
def test_the_peak_grows_neither_with_samples_nor_with_classes(way, classes, samples):
    """All columns at once would be C^2 N numbers: here 64 times as many in the largest run as in the smallest."""
    small, more = _peak(way, classes, samples), _peak(way, 4 * classes, 4 * samples)
    everything = (4 * classes) ** 2 * 4 * samples * 4 / 2**20
    bound = {"rule": 100, "vmap": 100, "loop": 12}[way]
    assert more < small + bound
    assert everything > (2 * bound if way != "loop" else 3)

"""A backend for laplace-torch: a Laplace approximation with the diagonal of `fisher_diag`, of any module.

    Laplace(model, "classification", hessian_structure="diag", backend=GrokfastGGN)

The other backends take linear and convolutional layers (BackPACK), or build all Jacobians (`GGNInterface`, curvlinops).
For both of its likelihoods the Fisher matrix is the generalised Gauss-Newton matrix H of the summed loss, so H and
the marginal likelihood are theirs. Needs `pip install laplace-torch`; a torchvision that was built for another torch
than yours (a CPU one) breaks its import: `pip uninstall torchvision`, it is not needed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from grokfast import fisher_diag

try:
    from laplace import Laplace
    from laplace.curvature import CurvlinopsGGN, GGNInterface
except Exception as error:
    print(f"laplace-torch cannot be imported here ({type(error).__name__}: {error}); pip install laplace-torch")
    sys.exit(0)


class TakesOneDictionary(nn.Module):
    """laplace-torch hands a batch to the model as one dictionary; here its parts are keywords."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, **parts: Tensor) -> Any:
        """As laplace-torch calls it."""
        return self.inner(parts)


class GrokfastGGN(GGNInterface):
    """The diagonal by `fisher_diag`: exact, or with `stochastic=True` from `num_samples` drawn labels a sample."""

    def diag(self, x: Tensor | MutableMapping[str, Any], y: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """The loss of a batch and the diagonal of H, both summed over its samples."""
        model, inputs = self.model, x
        if self.last_layer:
            f, inputs = self.model.forward_with_features(x)
            model = self.model.last_layer
        elif isinstance(x, MutableMapping):
            f, model = self.model(x), TakesOneDictionary(self.model)
            inputs = {name: part for name, part in x.items() if name != self.dict_key_y}
        else:
            f = self.model(x)
        how: dict[str, Any] = {"kind": "mc", "samples": self.num_samples} if self.stochastic else {"kind": "exact"}
        likelihood = "gaussian" if self.likelihood == "regression" else "categorical"
        h = fisher_diag(model, inputs, likelihood=likelihood, reduction="sum", **how).flat()
        h = h if self.subnetwork_indices is None else h[self.subnetwork_indices]
        return (self.factor * self.lossfunc(f, y)).detach(), h


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    n = 200 if parser.parse_args().quick else 2000
    torch.manual_seed(0)
    x = torch.randn(n, 1, 12, 12)
    y = (x[:, 0, :6].mean((1, 2)) > x[:, 0, 6:].mean((1, 2))).long()
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    for backend in (CurvlinopsGGN, GrokfastGGN):
        start = time.perf_counter()
        fit = Laplace(model, "classification", "all", "diag", backend=backend)
        fit.fit(DataLoader(TensorDataset(x, y), batch_size=200))
        evidence, seconds = float(fit.log_marginal_likelihood()), time.perf_counter() - start
        print(f"{backend.__name__:14} log marginal likelihood {evidence:.4f}, {seconds:.2f} s")


if __name__ == "__main__":
    main()

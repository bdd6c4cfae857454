"""The same diagonals by other libraries: functions that prepare a run, for the networks they are right on."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.utils.data import DataLoader, TensorDataset

Run = Callable[[], Tensor]
_CHUNK = 1 << 25


def torch_func(model: nn.Module, x: Tensor, y: Tensor | None, kind: str, likelihood: str) -> Run:
    """Per-sample Jacobians by ``torch.func``, in chunks that hold at most 128 MB of gradients."""
    params = {name: p.detach() for name, p in model.named_parameters()}
    width = sum(p.numel() for p in params.values())

    def outputs(leaves: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(model, leaves, (one.unsqueeze(0),))[0]

    def loss(leaves: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return outputs(leaves, one).log_softmax(-1).gather(0, label.unsqueeze(0))[0]

    def empirical() -> Tensor:
        per_sample = vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
        step = max(1, _CHUNK // width)
        total = torch.zeros(width)
        for k in range(0, len(x), step):
            grads = per_sample(params, x[k : k + step], y[k : k + step])
            total += torch.cat([g.square().sum(0).flatten() for g in grads.values()])
        return total / len(x)

    def exact() -> Tensor:
        jacobian = vmap(jacrev(outputs), in_dims=(None, 0))
        total = torch.zeros(width)
        with torch.no_grad():
            f = model(x)
        step = max(1, _CHUNK // (width * f.shape[1]))
        for k in range(0, len(x), step):
            rows = torch.cat([j.flatten(2) for j in jacobian(params, x[k : k + step]).values()], -1)
            if likelihood == "gaussian":
                total += rows.square().sum((0, 1))
                continue
            p = f[k : k + step].softmax(-1)
            rows = rows - torch.einsum("nc,ncp->np", p, rows).unsqueeze(1)
            total += torch.einsum("nc,ncp->p", p, rows.square())
        return total / len(x)

    return empirical if kind == "empirical" else exact


def loop(model: nn.Module, x: Tensor, y: Tensor | None, kind: str, likelihood: str) -> Run:
    """Autograd, one sample and one label at a time: what is left where ``torch.func`` cannot follow."""
    leaves = list(model.parameters())

    def run() -> Tensor:
        total = torch.zeros(sum(p.numel() for p in leaves))
        for k in range(len(x)):
            logs = model(x[k : k + 1])[0].log_softmax(-1)
            labels = range(len(logs)) if kind == "exact" else (int(y[k]),)
            for c in labels:
                grads = torch.autograd.grad(logs[c], leaves, retain_graph=True)
                weight = float(logs[c].detach().exp()) if kind == "exact" else 1.0
                total += weight * torch.cat([g.flatten() for g in grads]).square()
        return total / len(x)

    return run


def closed_form(model: nn.Module, x: Tensor, likelihood: str) -> Run:
    """The exact diagonal of ``Linear, ReLU, Linear`` as a few products in torch: the algorithm without our kernel."""
    w1, b1, w2, b2 = (p.detach() for p in model.parameters())

    def run() -> Tensor:
        z = x @ w1.T + b1
        h = z.relu()
        if likelihood == "gaussian":
            v, a = w2.square().sum(0).expand_as(h), torch.ones(len(x), len(w2))
        else:
            p = (h @ w2.T + b2).softmax(-1)
            v, a = p @ w2.square() - (p @ w2).square(), p * (1 - p)
        v = v * (z > 0)
        parts = (v.T @ x.square(), v.sum(0), a.T @ h.square(), a.sum(0))
        return torch.cat([part.flatten() for part in parts]) / len(x)

    return run


def backpack_in_chunks(model: nn.Module, x: Tensor, y: Tensor | None, kind: str, likelihood: str, size: int) -> Run:
    """:func:`backpack` on ``size`` samples at a time, which fits its intermediate results into the cache."""
    runs = [
        (len(part), backpack(model, part, None if y is None else y[k : k + size], kind, likelihood))
        for k, part in zip(range(0, len(x), size), x.split(size), strict=True)
    ]

    def run() -> Tensor:
        return torch.stack([count * one() for count, one in runs]).sum(0) / len(x)

    return run


def backpack(model: nn.Module, x: Tensor, y: Tensor | None, kind: str, likelihood: str) -> Run:
    """BackPACK: ``DiagGGNExact`` (exact) or ``SumGradSquared`` (empirical)."""
    import backpack
    from backpack.extensions import DiagGGNExact, SumGradSquared

    gaussian = likelihood == "gaussian"
    net = backpack.extend(copy.deepcopy(model))
    loss = backpack.extend(nn.MSELoss(reduction="sum") if gaussian else nn.CrossEntropyLoss())
    extension, field = (
        (SumGradSquared(), "sum_grad_squared") if kind == "empirical" else (DiagGGNExact(), "diag_ggn_exact")
    )

    def run() -> Tensor:
        net.zero_grad()
        outputs = net(x)
        labels = torch.zeros_like(outputs) if gaussian else y if y is not None else outputs.argmax(-1)
        with backpack.backpack(extension):
            loss(outputs, labels).backward()
        found = torch.cat([getattr(p, field).flatten() for p in net.parameters()])
        return found / (2 * len(x)) if gaussian else found * len(x) if kind == "empirical" else found

    return run


def nngeometry(model: nn.Module, x: Tensor, y: Tensor | None, kind: str, likelihood: str) -> Run:
    """NNGeometry: ``FIM`` with a diagonal representation; it has no empirical variant."""
    from nngeometry.metrics import FIM
    from nngeometry.object.pspace import PMatDiag

    if kind == "empirical":
        raise NotImplementedError
    net = copy.deepcopy(model)
    loader = DataLoader(TensorDataset(x), batch_size=min(len(x), 512))
    variant = "regression" if likelihood == "gaussian" else "classif_logits"
    return lambda: FIM(net, loader, PMatDiag, variant).get_diag()

"""How flat the minimum is: trace and largest eigenvalue of the Fisher matrices and of the loss's Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from grokfast.fisher import fisher_diag, fisher_vector_product
from grokfast.geometry import MetricFisher
from grokfast.measures import Column, hutchinson_trace, largest_eigenvalue
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import Split, Task, loss_function_of, mean_loss

_PROBES = 16
_FISHERS = {MetricFisher.SOFTMAX: "fisher", MetricFisher.LOGIT: "logit_fisher"}


class FlatnessMeasure:
    """Trace and largest eigenvalue of three curvatures of the end model.

    The Fisher matrices of softmax and logits on the whole test split (trace by the exact diagonal, eigenvalue by
    Lanczos iteration over exact products), and the Hessian of the mean training loss, without weight decay
    (eigenvalue by Lanczos, trace by 16 random signs with a fixed stream).
    """

    name = "flatness"
    needs = frozenset({Need.PARAMETERS, Need.DATA, Need.FISHER})
    cost = 400.0
    version = "1"

    def columns(self, task: Task) -> Sequence[Column]:
        """Six; those of the softmax have no meaning for a regression and are left out there."""
        found = []
        for kind in _kinds(task):
            name = _FISHERS[kind]
            found += [
                Column(f"{name}_trace", f"trace of the {kind.value} Fisher matrix on the test split"),
                Column(f"{name}_largest", f"largest eigenvalue of the {kind.value} Fisher matrix on the test split"),
            ]
        return [
            *found,
            Column("hessian_trace", "trace of the Hessian of the training loss, by 16 random signs"),
            Column("hessian_largest", "largest eigenvalue of the Hessian of the training loss"),
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        rows = [self._of(snapshot, e) for e in range(snapshot.members)]
        return {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}

    def _of(self, snapshot: Snapshot, member: int) -> dict[str, float]:
        task, split = snapshot.task, snapshot.splits[member]
        model = snapshot.model(member)
        dtype = next(model.parameters()).dtype
        inputs = task.encode(split.test_inputs, dtype)
        size = sum(p.numel() for p in model.parameters())
        found: dict[str, float] = {}
        for kind in _kinds(task):
            likelihood = kind.likelihood

            def product(v: Tensor, likelihood: str = likelihood) -> Tensor:
                image = fisher_vector_product(model, inputs, v.to(dtype), likelihood=likelihood)
                return torch.cat([part.flatten() for part in image.values()])

            diagonal = fisher_diag(model, inputs, likelihood=likelihood)
            found[f"{_FISHERS[kind]}_trace"] = sum(float(part.double().sum()) for part in diagonal.values())
            found[f"{_FISHERS[kind]}_largest"] = largest_eigenvalue(product, size).value
        hessian = hessian_product(model, task, split)
        found["hessian_trace"] = hutchinson_trace(hessian, size, probes=_PROBES)[0]
        found["hessian_largest"] = largest_eigenvalue(hessian, size).value
        return found


def hessian_product(model: nn.Module, task: Task, split: Split) -> Callable[[Tensor], Tensor]:
    """The Hessian of the mean training loss times a vector, by two backward passes.

    Args:
        model: A network of the task.
        task: The task, which encodes the inputs and has the loss.
        split: The data.

    Returns:
        A function of vectors ``[n]`` in the order of the model's parameters.

    Source:
        B. A. Pearlmutter, Neural Computation 6, 147 (1994).
    """
    parameters = list(model.parameters())
    inputs = task.encode(split.train_inputs, parameters[0].dtype)
    with torch.enable_grad():
        loss = mean_loss(loss_function_of(task), model(inputs), split.train_labels)
        slopes = torch.autograd.grad(loss, parameters, create_graph=True)
        slope = torch.cat([part.flatten() for part in slopes])

    def product(v: Tensor) -> Tensor:
        image = torch.autograd.grad(slope, parameters, v.to(slope), retain_graph=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in image])

    return product


def _kinds(task: Task) -> list[MetricFisher]:
    return list(_FISHERS) if task.has_accuracy else [MetricFisher.LOGIT]

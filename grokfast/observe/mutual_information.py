"""Mutual information of every neuron with the energy, beside what a linear relation would have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokfast.ising.quantities import QUANTITIES
from grokfast.measures import Column, linear_information, mutual_information, neuron_correlations
from grokfast.observe.protocol import Need
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import Ising, Task


class InformationMeasure:
    """Mutual information of the last hidden layer's pre-activations with the energy, of the Ising task.

    A neuron may receive the same from many snapshots: the estimator for mixtures. Energies have levels that lie closer
    than neighbours do, of which it finds 0.2 nats too much: they are spread within their levels first.
    """

    name = "mutual_information"
    needs = frozenset({Need.PARAMETERS, Need.PREACTIVATIONS, Need.DATA})
    cost = 50.0
    version = "2"

    def columns(self, task: Task) -> Sequence[Column]:
        """Three, of the Ising task; none of others, which have no energy."""
        if not isinstance(task, Ising):
            return []
        layer = _last(task)
        where = f"with the energy, mean over live neurons of {layer}"
        return [
            Column("information_energy", f"mutual information {where}", "nat"),
            Column("linear_information_energy", f"-ln(1 - r^2)/2 {where}", "nat"),
            Column("informed_neurons", f"neurons of {layer} that do not give every snapshot the same", "neurons"),
        ]

    def __call__(self, snapshot: Snapshot) -> Seen:
        """One look."""
        if not isinstance(snapshot.task, Ising):
            return {}
        inputs = snapshot.test_inputs()
        values = snapshot.task.preactivations(snapshot.params, inputs)[_last(snapshot.task)].double()  # [E, N, K]
        energy = QUANTITIES["energy"](inputs)[..., 0].double()
        r = neuron_correlations(values, energy[..., None])[..., 0]  # [E, K]
        whole = torch.stack([mutual_information(z.T, spread(e)) for z, e in zip(values, energy, strict=True)])
        live = ~r.isnan()
        return {
            "information_energy": torch.where(live, whole, torch.nan).nanmean(-1),
            "linear_information_energy": linear_information(r).nanmean(-1),
            "informed_neurons": live.sum(-1).double(),
        }


def spread(levels: Tensor) -> Tensor:
    r"""Discrete values made continuous: :math:`y + \Delta (u - 1/2)`, u uniform, Δ the least distance of two levels.

    Which level it was can still be told, and beyond it there is nothing but noise: mutual information with anything is
    the same.

    Args:
        levels: ``[N]``.

    Returns:
        ``[N]``, float64, the same at every call.
    """
    values = levels.double()
    gaps = torch.unique(values).diff()
    noise = torch.rand(len(values), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return values + gaps.min() * (noise - 0.5).to(values.device) if len(gaps) else values


def _last(task: Ising) -> str:
    return list(task.shape.layers)[-2]

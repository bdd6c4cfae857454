"""Data sets of Ising snapshots with their phases, as a torch ``Dataset``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Required, TypeAlias, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from grokfast._checks import check_at_least, parse_choice
from grokfast._options import takes_options
from grokfast.errors import InputError
from grokfast.ising.exact import critical_temperature
from grokfast.ising.inputs import Shape, check_energy, parse_shape
from grokfast.ising.kinds import Dynamics, Order, Phase, Seeding
from grokfast.ising.sampler import IsingSampler

Parameter: TypeAlias = str | int | float | list[int] | list[float]


@dataclass(frozen=True, eq=False)
class IsingDataset(Dataset[tuple[Tensor, Tensor]]):
    """Snapshots with their labels and the quantities a network may find in them.

    Indexing gives ``(input, label)``: float32 ``[1, Ly, Lx]`` of ±1 and an int64 scalar.

    Attributes:
        spins: int8 ``[N, Ly, Lx]`` of ±1.
        labels: int64 ``[N]``, 0 for :attr:`Phase.ORDERED` and 1 for :attr:`Phase.DISORDERED`.
        temperatures: float64 ``[N]``, k_B T in the energy unit of J.
        energies: float64 ``[N]``, E / N per site, in the units of J.
        magnetizations: float64 ``[N]``, M / N per site.
        parameters: How they were made; saved with them.

    Raises:
        InputError: If shapes or types do not fit together, or a spin or label has another value.
    """

    spins: Tensor
    labels: Tensor
    temperatures: Tensor
    energies: Tensor
    magnetizations: Tensor
    parameters: Mapping[str, Parameter]

    def __post_init__(self) -> None:
        count = len(self.spins)
        if self.spins.ndim != 3 or self.spins.dtype != torch.int8:
            raise InputError(f"spins must be int8 [N, Ly, Lx], got {self.spins.dtype} {list(self.spins.shape)}")
        for name, dtype in (
            ("labels", torch.int64),
            ("temperatures", torch.float64),
            ("energies", torch.float64),
            ("magnetizations", torch.float64),
        ):
            tensor: Tensor = getattr(self, name)
            if tensor.shape != (count,) or tensor.dtype != dtype:
                raise InputError(f"{name} must be {dtype} [{count}], got {tensor.dtype} {list(tensor.shape)}")
        if not bool((self.spins.abs() == 1).all()):
            raise InputError("spins must be -1 or 1")
        if not bool(((self.labels == 0) | (self.labels == 1)).all()):
            raise InputError("labels must be 0 (ordered) or 1 (disordered)")

    def __len__(self) -> int:
        """Number of snapshots."""
        return len(self.spins)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The snapshot as float32 ``[1, Ly, Lx]`` and its label."""
        return self.spins[index].to(torch.float32).unsqueeze(0), self.labels[index]

    def inputs(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """All snapshots as the network takes them: ``[N, 1, Ly, Lx]``."""
        return self.spins.to(dtype).unsqueeze(1)

    def subset(self, indices: npt.ArrayLike | Tensor) -> IsingDataset:
        """The snapshots at ``indices`` (or where a mask is True), with the same parameters."""
        chosen = torch.as_tensor(indices)
        return IsingDataset(
            self.spins[chosen],
            self.labels[chosen],
            self.temperatures[chosen],
            self.energies[chosen],
            self.magnetizations[chosen],
            dict(self.parameters),
        )


class DatasetOptions(TypedDict, total=False):
    """The keyword options of :func:`ising_dataset`."""

    seed: Required[int]
    order: Annotated[str | Order, "checkerboard"]
    J: Annotated[float, 1.0]
    threads: Annotated[int | None, None]


@takes_options
def ising_dataset(
    L: Shape = 16,
    temperatures: int | npt.ArrayLike = 50,
    snapshots: int = 1000,
    sweeps: int = 40,
    dynamics: str | Dynamics = Dynamics.METROPOLIS,
    **options: Unpack[DatasetOptions],
) -> IsingDataset:
    """Snapshots after a fixed number of sweeps from a random start, labelled by phase.

    The sweeps are too few for every cold snapshot to order: some stay divided by straight domain walls, with
    the energy of the ordered phase and little magnetisation. That is wanted; :func:`stripe_report` counts
    them.

    Args:
        L: Side of the lattice, or ``(Ly, Lx)``.
        temperatures: An integer: that many, equally spaced over [Tc - J, Tc + J]; or the temperatures.
        snapshots: For each temperature, each from a start of its own.
        sweeps: Sweeps from the random start to the snapshot.
        dynamics: ``"metropolis"`` or ``"glauber"``; clusters would leave no domain walls.
        seed: Integer of at least 0.
        order: ``"checkerboard"`` or ``"random"``: sites drawn at random, as the paper's authors had them; see
            :class:`Order`.
        J: Ferromagnetic coupling, greater than 0.
        threads: At most this many; the snapshots do not depend on it.

    Returns:
        ``len(temperatures) * snapshots`` snapshots, by temperature.

    Raises:
        InputError: If an argument is out of range.

    Source:
        arXiv 2502.01739; the defaults of ``sweeps`` and ``dynamics`` are this package's.
    """
    J, seed = options["J"], options["seed"]
    parse_shape("L", L)
    check_energy("J", J, positive=True)
    check_at_least("snapshots", snapshots, 1)
    check_at_least("sweeps", sweeps, 0)
    dynamics = parse_choice("dynamics", dynamics, Dynamics)
    if not dynamics.is_local:
        raise InputError(f"dynamics must be 'metropolis' or 'glauber' for a data set, got '{dynamics}'")
    order = parse_choice("order", options["order"], Order)
    Tc = critical_temperature(J)
    if isinstance(temperatures, int | np.integer):
        check_at_least("temperatures", int(temperatures), 1)
        temperatures = np.linspace(Tc - J, Tc + J, int(temperatures))
    sampler = IsingSampler(
        L,
        temperatures,
        snapshots,
        dynamics=dynamics,
        order=order,
        J=J,
        seed=seed,
        threads=options["threads"],
        seeding=Seeding.SEED,
    )
    sampler.sweep(sweeps)
    repeated = np.repeat(sampler.temperatures, snapshots)
    rows, columns = sampler.shape[2:]
    return IsingDataset(
        spins=torch.from_numpy(sampler.spins.reshape(-1, rows, columns)),
        labels=torch.from_numpy(phases(repeated, J)),
        temperatures=torch.from_numpy(repeated),
        energies=torch.from_numpy(sampler.energy().reshape(-1)),
        magnetizations=torch.from_numpy(sampler.magnetization().reshape(-1)),
        parameters={
            "L": [rows, columns],
            "temperatures": sampler.temperatures.tolist(),
            "snapshots": int(snapshots),
            "sweeps": int(sweeps),
            "dynamics": dynamics.value,
            "order": order.value,
            "J": float(J),
            "seed": int(seed),
        },
    )


def phases(temperatures: npt.ArrayLike, J: float = 1.0) -> npt.NDArray[np.int64]:
    """Labels by temperature: ordered for T < Tc, else disordered."""
    cold = np.asarray(temperatures) < critical_temperature(J)
    return np.where(cold, Phase.ORDERED, Phase.DISORDERED).astype(np.int64)


def train_test_split(
    dataset: IsingDataset, train: int = 300, test: int = 1000, *, seed: int, stratified: bool = True
) -> tuple[IsingDataset, IsingDataset]:
    """Two disjoint random parts, each with as many ordered as disordered snapshots.

    Args:
        dataset: What to draw from.
        train: Snapshots of the first part, even if stratified.
        test: Snapshots of the second part, even if stratified.
        seed: Integer of at least 0.
        stratified: Half of each phase in both parts, as the paper's text has it; False draws from all snapshots alike,
            as its published code does.

    Returns:
        The training and the test part, each in random order.

    Raises:
        InputError: If a stratified size is odd, or there are too few snapshots (of a phase).
    """
    check_at_least("seed", seed, 0)
    if not stratified:
        return _plain_split(dataset, train, test, seed)
    for name, size in (("train", train), ("test", test)):
        check_at_least(name, size, 0)
        if size % 2:
            raise InputError(f"{name} must be even to hold half of each phase, got {size}")
    generator = np.random.default_rng(seed)
    needed = (train + test) // 2
    parts: list[list[npt.NDArray[np.int64]]] = [[], []]
    for phase in Phase:
        members = np.flatnonzero(dataset.labels.numpy() == phase)
        if members.size < needed:
            raise InputError(
                f"the split needs {needed} {phase.name.lower()} snapshots, the data set has {members.size}"
            )
        chosen = generator.permutation(members)[:needed]
        parts[0].append(chosen[: train // 2])
        parts[1].append(chosen[train // 2 :])
    first, second = (dataset.subset(generator.permutation(np.concatenate(part))) for part in parts)
    return first, second


def _plain_split(dataset: IsingDataset, train: int, test: int, seed: int) -> tuple[IsingDataset, IsingDataset]:
    for name, size in (("train", train), ("test", test)):
        check_at_least(name, size, 0)
    count = len(dataset.labels)
    if count < train + test:
        raise InputError(f"the split needs {train + test} snapshots, the data set has {count}")
    order = np.random.default_rng(seed).permutation(count)
    return dataset.subset(order[:train]), dataset.subset(order[train : train + test])


def snapshot_quantities(
    spins: npt.NDArray[np.int8], J: float = 1.0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """E / N and M / N of periodic snapshots int8 ``[N, Ly, Lx]``: two float64 ``[N]``."""
    sites = spins.shape[1] * spins.shape[2]
    bonds = np.zeros(len(spins), dtype=np.int64)
    for axis in (1, 2):
        bonds += (spins * np.roll(spins, 1, axis=axis)).sum(axis=(1, 2), dtype=np.int64)
    magnetizations = spins.sum(axis=(1, 2), dtype=np.int64) / sites
    return -J * bonds / math.prod(spins.shape[1:]), magnetizations
